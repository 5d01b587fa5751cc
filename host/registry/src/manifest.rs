//! Manifests, as a registry has them: fetched by a request of our own, since the library reads whatever is sent.

use ays_core::Digest;
use ays_package::digest;
use http::StatusCode;
use oci_client::{Client, RegistryOperation, manifest::OCI_IMAGE_MEDIA_TYPE, secrets::RegistryAuth};

use crate::{Access, Reference, RegistryError};

/// The most bytes of a manifest: what registries are to take at least, by the specification, and mostly at most.
const MOST: usize = 4 << 20;

/// The manifest's bytes. They have the digest that the reference says, or else that the registry says.
pub(crate) async fn fetch(
    client: &Client,
    from: &Reference,
    access: &Access,
) -> Result<Vec<u8>, RegistryError> {
    let auth = access.auth(from)?;
    let operation = RegistryOperation::Pull;
    let token =
        client.auth(&from.0, &auth, operation).await.map_err(|error| RegistryError::of(from, error))?;
    let failed = |error: reqwest::Error| RegistryError::of(from, error.into());
    let request =
        access.http().map_err(failed)?.get(url(from, access)).header("accept", OCI_IMAGE_MEDIA_TYPE);
    let request = match (token, auth) {
        (Some(token), _) => request.bearer_auth(token),
        (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
        (None, _) => request,
    };
    let mut answer = request.send().await.map_err(failed)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(RegistryError::NotFound { reference: from.to_string() }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(RegistryError::Unauthorized { reference: from.to_string() });
        }
        other => {
            let why = format!("the registry answered {other} when asked for the manifest");
            return Err(RegistryError::Failed { reference: from.to_string(), why });
        }
    }
    let said =
        answer.headers().get("docker-content-digest").and_then(|said| said.to_str().ok()).map(str::to_owned);
    let mut manifest = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        if manifest.len() + piece.len() > MOST {
            let why = format!("its manifest has more than {MOST} bytes, the most that one may have");
            return Err(RegistryError::NotAComponent { reference: from.to_string(), why });
        }
        manifest.extend_from_slice(&piece);
    }
    let found = digest(&manifest);
    match from.0.digest().map(str::to_owned).or(said) {
        // Of another algorithm than ours it may be right: then it is for the component's digest to be.
        Some(expected)
            if expected.parse::<Digest>().map_or(from.is_pinned(), |expected| expected != found) =>
        {
            Err(RegistryError::Tampered {
                reference: from.to_string(),
                what: "its manifest",
                expected,
                found,
            })
        }
        _ => Ok(manifest),
    }
}

fn url(from: &Reference, access: &Access) -> String {
    let scheme = if access.is_plain(from) { "http" } else { "https" };
    let which = from.0.digest().or(from.0.tag()).unwrap_or("latest");
    format!("{scheme}://{}/v2/{}/manifests/{which}", from.0.resolve_registry(), from.0.repository())
}
