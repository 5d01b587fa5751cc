//! There and back.

use ays_core::Digest;
use ays_package::digest;
use futures::StreamExt as _;
use oci_client::{errors::OciDistributionError, manifest::OCI_IMAGE_MEDIA_TYPE};

use crate::{Access, Reference, RegistryError, artifact, manifest};

/// A component and its detached signature, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// The signature's text.
    pub signature: Option<String>,
}

/// What was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest: `REGISTRY/REPOSITORY@DIGEST` is this and nothing else, signature included.
    pub manifest: Digest,
    /// The digest of the component, which is the file's.
    pub component: Digest,
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What it is.
    pub package: Package,
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The digest of the component; its bytes have it.
    pub component: Digest,
}

/// Pushes a component. Pushed again, it is the same manifest, wherever and whenever that is.
///
/// # Errors
/// If it is no component, the reference names a digest, or the registry does not take it.
pub async fn push(to: &Reference, package: Package, access: &Access) -> Result<Pushed, RegistryError> {
    if to.is_pinned() {
        return Err(RegistryError::Pinned { reference: to.to_string() });
    }
    let artifact = artifact::lay_out(&package, to.name())?;
    let (client, auth) = (access.client(to)?, access.auth(to)?);
    let failed = |error| RegistryError::of(to, error);
    client.store_auth_if_needed(to.registry(), &auth).await;
    for content in [package.component, artifact.config] {
        let of = digest(&content).to_string();
        // Who may not even ask is told so when it is pushed.
        if !client.blob_exists(&to.0, &of).await.unwrap_or(false) {
            client.push_blob(&to.0, content, &of).await.map_err(failed)?;
        }
    }
    let manifest = digest(&artifact.manifest);
    let media_type = http::HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE);
    client.push_manifest_raw(&to.0, artifact.manifest, media_type).await.map_err(failed)?;
    Ok(Pushed { manifest, component: artifact.component })
}

/// Pulls a component. What it gives has the digests that the reference and the manifest say; whether the signature is of
/// anybody who is trusted is for [`Trust`](ays_package::Trust) to say.
///
/// # Errors
/// If it is not there, is no component, or its bytes are not those that its digest stands for.
pub async fn pull(from: &Reference, access: &Access) -> Result<Pulled, RegistryError> {
    let client = access.client(from)?;
    let manifest = manifest::fetch(&client, from, access).await?;
    let not = |why| RegistryError::NotAComponent { reference: from.to_string(), why };
    let described = artifact::read(&manifest).map_err(not)?;
    let component = download(&client, from, &described).await?;
    // The library compares, too; that it does is not taken for granted.
    let found = digest(&component);
    if found != described.digest {
        return Err(RegistryError::Tampered {
            reference: from.to_string(),
            what: "the component",
            expected: described.digest.to_string(),
            found,
        });
    }
    let package = Package { component, signature: described.signature };
    Ok(Pulled { package, manifest: digest(&manifest), component: described.digest })
}

/// The layer's bytes, and not one more than it is said to have.
async fn download(
    client: &oci_client::Client,
    from: &Reference,
    described: &artifact::Described,
) -> Result<Vec<u8>, RegistryError> {
    let mut stream = client
        .pull_blob_stream(&from.0, &described.layer)
        .await
        .map_err(|error| RegistryError::of(from, error))?
        .stream;
    let mut content = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) if content.len() + piece.len() <= described.size => content.extend_from_slice(&piece),
            Ok(_) => {
                let why =
                    format!("its layer has more than the {} bytes that its manifest says", described.size);
                return Err(RegistryError::NotAComponent { reference: from.to_string(), why });
            }
            // The stream ends so when all is there and the digest is another: the caller says it better.
            Err(_) if content.len() == described.size => break,
            Err(error) => {
                return Err(RegistryError::of(from, OciDistributionError::IoError(error)));
            }
        }
    }
    Ok(content)
}
