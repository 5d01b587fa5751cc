//! Detached signatures in minisign's format.

use std::{fmt, io::Cursor, str::FromStr};

use minisign::SignatureBox;

use crate::key::{KeyError, KeyId, PublicKey, SecretKey};

/// The longest text that is read as a signature, in bytes. One has about 300.
pub const SIGNATURE_BYTES: usize = 16 << 10;

/// A text that is no signature; says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no minisign signature: {0}; the four lines that `ays-host sign` or `minisign -S` writes would be right"
)]
pub struct InvalidSignature(String);

/// A signature of a file, as `FILE.minisig` holds it. Reading one proves nothing: [`Trust`](crate::Trust) checks it.
#[derive(Clone)]
pub struct Signature(SignatureBox);

impl Signature {
    /// Signs a file. The comment is one line, and is signed, too; `minisign` writes `timestamp:SECONDS\tfile:NAME\thashed`.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn sign(file: &[u8], key: &SecretKey, comment: &str) -> Result<Self, KeyError> {
        let line: String =
            comment.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
        // Readers trim it, and what was signed must be what they read.
        key.sign(file, line.trim()).map(Self)
    }

    /// The number of the key that it says it was made with.
    pub fn key(&self) -> KeyId {
        KeyId::read(self.0.keynum())
    }

    /// The signed comment. Worth what the signature is worth.
    pub fn comment(&self) -> String {
        self.0.trusted_comment().unwrap_or_default()
    }

    /// Whether the key made it for this file and this comment.
    pub(crate) fn fits(&self, file: &[u8], key: &PublicKey) -> bool {
        // Signatures of the whole file instead of its hash are what minisign made before 2021; it still takes them, too.
        minisign::verify(&key.0, &self.0, Cursor::new(file), true, false, true).is_ok()
    }
}

impl FromStr for Signature {
    type Err = InvalidSignature;

    fn from_str(text: &str) -> Result<Self, InvalidSignature> {
        if text.len() > SIGNATURE_BYTES {
            return Err(InvalidSignature(format!("it has {} bytes", text.len())));
        }
        let signature = SignatureBox::from_string(text).map_err(|e| InvalidSignature(e.to_string()))?;
        // The library hands the fourth line on as long as it is.
        let last = signature.to_string();
        let whole = last.lines().nth(3).is_some_and(|line| line.len() == 88);
        if whole {
            Ok(Self(signature))
        } else {
            Err(InvalidSignature("its last line has the wrong length".into()))
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature(by {})", self.key())
    }
}
