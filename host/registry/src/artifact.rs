//! The layout of a component in a registry.

use std::collections::BTreeMap;

use ays_core::Digest;
use ays_package::{COMPONENT_BYTES, digest, section};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde::Serialize;

use crate::{Package, RegistryError, SIGNATURE};

/// The media type of the config.
pub(crate) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The media type of the layer.
pub(crate) const LAYER: &str = "application/wasm";
/// The annotation with the name of what is in it, for people.
const TITLE: &str = "org.opencontainers.image.title";

/// The config of a component, as
/// <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/#media-type-applicationvndwasmconfigv0json>
/// describes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    /// Always the same time: the same component is the same artifact, whenever it is pushed.
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [Digest; 1],
    component: Component,
}

#[derive(Serialize)]
struct Component {
    exports: Vec<String>,
    imports: Vec<String>,
    /// The world it was built for, which components do not say.
    target: Option<String>,
}

/// What is pushed, part by part.
pub(crate) struct Artifact {
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) component: Digest,
}

/// Lays a package out. The title is for people: nothing is decided by it.
pub(crate) fn lay_out(package: &Package, title: &str) -> Result<Artifact, RegistryError> {
    let component = digest(&package.component);
    let surface = section::surface(&package.component)?;
    let config = json(&Config {
        created: "1970-01-01T00:00:00Z",
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [component],
        component: Component { exports: surface.exports, imports: surface.imports, target: None },
    });
    let mut annotations = BTreeMap::from([(TITLE.to_owned(), title.to_owned())]);
    annotations.extend(package.signature.clone().map(|text| (SIGNATURE.to_owned(), text)));
    let manifest = json(&OciImageManifest {
        schema_version: 2,
        media_type: Some(OCI_IMAGE_MEDIA_TYPE.into()),
        config: descriptor(CONFIG, &config),
        layers: vec![descriptor(LAYER, &package.component)],
        annotations: Some(annotations),
        ..OciImageManifest::default()
    });
    Ok(Artifact { config, manifest, component })
}

/// What a manifest says of a component: the layer that holds it, and its signature.
pub(crate) struct Described {
    pub(crate) layer: OciDescriptor,
    /// The layer's size in bytes.
    pub(crate) size: usize,
    pub(crate) digest: Digest,
    pub(crate) signature: Option<String>,
}

/// Reads a manifest.
///
/// # Errors
/// Why it is not that of a component.
pub(crate) fn read(manifest: &[u8]) -> Result<Described, String> {
    let manifest: OciImageManifest =
        serde_json::from_slice(manifest).map_err(|e| format!("its manifest cannot be read ({e})"))?;
    if manifest.config.media_type != CONFIG {
        return Err(format!("its config is `{}`; `{CONFIG}` would be right", manifest.config.media_type));
    }
    let [layer] = manifest.layers.as_slice() else {
        return Err(format!("it has {} layers; one, the component, would be right", manifest.layers.len()));
    };
    if layer.media_type != LAYER {
        return Err(format!("its layer is `{}`; `{LAYER}` would be right", layer.media_type));
    }
    let size = usize::try_from(layer.size).ok().filter(|size| *size <= COMPONENT_BYTES);
    let size = size.ok_or_else(|| format!("it has {} bytes; {COMPONENT_BYTES} are the most", layer.size))?;
    let digest = layer.digest.parse().map_err(|e| format!("its layer's digest `{}` {e}", layer.digest))?;
    let signature = manifest.annotations.and_then(|mut annotations| annotations.remove(SIGNATURE));
    Ok(Described { layer: layer.clone(), size, digest, signature })
}

fn descriptor(media_type: &str, content: &[u8]) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.into(),
        digest: digest(content).to_string(),
        size: i64::try_from(content.len()).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}

/// JSON of structures without maps whose keys are no texts: that cannot fail.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
