//! Components in OCI registries.
//!
//! [`push`] and [`pull`] keep to the layout that the tools of the WebAssembly ecosystem share
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>): an image manifest whose config is
//! `application/vnd.wasm.config.v0+json` and whose one layer is the component, `application/wasm`. So `wkg oci pull`,
//! `oras` and others fetch what `ays-host push` has pushed, and the other way round.
//!
//! The layer's digest is the component's: both are the SHA-256 of the file. The detached signature travels as the
//! annotation [`SIGNATURE`] of the manifest, since the layout leaves no room for a second layer.

mod access;
mod artifact;
mod error;
mod manifest;
mod reference;
#[cfg(feature = "test-server")]
pub mod test_server;
mod transfer;

pub use access::{Access, Login};
pub use error::RegistryError;
pub use reference::{InvalidReference, Reference};
pub use transfer::{Package, Pulled, Pushed, pull, push};

/// The annotation that holds the text of the detached minisign signature.
pub const SIGNATURE: &str = "ays.minisig";
