//! Whose signatures count.

use crate::{
    Signature,
    key::{KeyId, PublicKey},
};

/// The keys that are trusted. There is always one at least: to trust nobody is to load nothing, and not to check is
/// `Option::None` where this is asked for.
#[derive(Clone, Debug)]
pub struct Trust {
    first: PublicKey,
    others: Vec<PublicKey>,
}

/// Who signed a file, as a trusted key proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The key.
    pub key: KeyId,
    /// The comment that was signed along.
    pub comment: String,
}

/// Why a file is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no signature.
    #[error(
        "it is not signed; only what {} signed is trusted. `ays-host sign` makes a signature, and it lies beside the \
         component as FILE.wasm.minisig", keys(.trusted)
    )]
    Unsigned {
        /// The keys that are trusted.
        trusted: Vec<KeyId>,
    },
    /// What should be its signature is none.
    #[error("its signature cannot be read: it {0}")]
    Unreadable(#[from] crate::InvalidSignature),
    /// Another key signed it.
    #[error("it is signed by the key {key}, which is not trusted; only what {} signed is", keys(.trusted))]
    UnknownKey {
        /// The key that the signature names.
        key: KeyId,
        /// The keys that are trusted.
        trusted: Vec<KeyId>,
    },
    /// It, its signature or the comment in it was changed after it was signed.
    #[error(
        "it was tampered with: the signature of the trusted key {key} does not fit it. Take it from its source again, or \
         sign it again if you built it anew"
    )]
    Tampered {
        /// The trusted key whose signature it claims to have.
        key: KeyId,
    },
}

fn keys(trusted: &[KeyId]) -> String {
    let named: Vec<_> = trusted.iter().map(KeyId::to_string).collect();
    format!("{} {}", if named.len() == 1 { "the key" } else { "one of the keys" }, named.join(", "))
}

impl Trust {
    /// Trusts these keys; `None` if there are none.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Option<Self> {
        let mut keys = keys.into_iter();
        keys.next().map(|first| Self { first, others: keys.collect() })
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Says who of the trusted signed these bytes. `signature` is the text of the detached signature, if there is one.
    ///
    /// # Errors
    /// Why they are not trusted.
    pub fn check(&self, file: &[u8], signature: Option<&str>) -> Result<Signer, Refusal> {
        let trusted = || self.keys().map(PublicKey::id).collect();
        let Some(text) = signature else { return Err(Refusal::Unsigned { trusted: trusted() }) };
        let signature: Signature = text.parse()?;
        let key = signature.key();
        // Numbers are not unique: who wants to can make a key with the number of another. So all that have it are tried.
        let mut named = self.keys().filter(|known| known.id() == key).peekable();
        if named.peek().is_none() {
            return Err(Refusal::UnknownKey { key, trusted: trusted() });
        }
        if named.any(|known| signature.fits(file, known)) {
            Ok(Signer { key, comment: signature.comment() })
        } else {
            Err(Refusal::Tampered { key })
        }
    }
}
