//! Packages that can be trusted: one file is the unit, a component with its manifest inside.
//!
//! Pure: bytes and texts come in, decisions go out. Who calls reads and writes files, asks for passwords, and knows the
//! time.
//!
//! | subject | here |
//! |---|---|
//! | which file it is | [`digest`] |
//! | the manifest inside the component, to be read without running anything | [`section`] |
//! | keys, and signatures as the `minisign` tool makes them | [`key`], [`Signature`] |
//! | whose signatures count, and why a file is refused | [`Trust`], [`Refusal`] |
//!
//! A signature and a digest are over the same bytes: the whole file, its manifest section included.
//!
//! ```
//! use ays_package::{Signature, Trust, key::SecretKey};
//!
//! let (secret, public) = SecretKey::generate()?;
//! let component = b"\0asm\x0d\0\x01\0";
//! let signature = Signature::sign(component, &secret, "timestamp:0\tfile:a.wasm")?;
//! let trust = Trust::new([public]).expect("there is a key");
//! assert_eq!(trust.check(component, Some(&signature.to_string())).map(|signer| signer.key), Ok(secret.id()));
//! assert!(trust.check(b"another file", Some(&signature.to_string())).is_err());
//! # Ok::<(), ays_package::key::KeyError>(())
//! ```

pub mod key;
pub mod section;
mod signature;
mod trust;

use ays_core::Digest;
pub use signature::{InvalidSignature, SIGNATURE_BYTES, Signature};
pub use trust::{Refusal, Signer, Trust};

/// The greatest component that is read, in bytes.
pub const COMPONENT_BYTES: usize = 256 << 20;

/// What follows a component's file name in the name of its detached signature: `FILE.wasm.minisig`.
pub const SIGNATURE_SUFFIX: &str = "minisig";

/// The digest of a file: the SHA-256 of its bytes.
pub fn digest(file: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_bytes(sha2::Sha256::digest(file).into())
}
