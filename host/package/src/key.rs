//! Keys in minisign's format: what `minisign -G` writes is read here, and the other way round.
//!
//! The format: <https://jedisct1.github.io/minisign/>.

use std::{fmt, io::Cursor, str::FromStr};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use minisign::{KeyPair, PublicKeyBox, SecretKeyBox};

/// A key's number, as `minisign` prints it: 16 hexadecimal digits. It tells keys apart for people, and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// From the bytes of a file; the library has read eight of them.
    pub(crate) fn read(number: &[u8]) -> Self {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(number).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is no public key.
    #[error(
        "is no minisign public key; the two lines that `ays-host keygen` or `minisign -G` writes, or the second of them \
         alone (56 characters that begin with `RW`), would be right"
    )]
    NotPublic,
    /// The text is no secret key.
    #[error(
        "is no minisign secret key: {0}; the file that `ays-host keygen` or `minisign -G` writes would be right"
    )]
    NotSecret(String),
    /// It is encrypted, and no password was given.
    #[error("is protected by a password")]
    Locked,
    /// It was encrypted with another password.
    #[error("the password is wrong")]
    WrongPassword,
    /// The system gave no random bytes, or no memory to derive a key from the password.
    #[error("cannot make or use a key: {0}")]
    System(String),
}

/// A key that checks signatures. Its text is the second line of a public key's file.
#[derive(Clone)]
pub struct PublicKey(pub(crate) minisign::PublicKey);

impl PublicKey {
    /// Its number.
    pub fn id(&self) -> KeyId {
        KeyId::read(self.0.keynum())
    }

    /// The text of its file: a comment, and the key.
    pub fn to_file(&self) -> String {
        format!("untrusted comment: minisign public key {}\n{self}\n", self.id())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads a public key's file, or the base64 text alone.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let read = if text.contains('\n') {
            PublicKeyBox::from_string(text).and_then(PublicKeyBox::into_public_key)
        } else {
            minisign::PublicKey::from_base64(text)
        };
        let key = read.map_err(|_| KeyError::NotPublic)?;
        // The library does not look at the algorithm, nor whether the text goes on.
        let is_ed25519 = key.to_bytes().starts_with(b"Ed");
        let is_whole =
            text.lines().nth(usize::from(text.contains('\n'))).map(str::trim) == Some(&key.to_base64());
        if is_ed25519 && is_whole { Ok(Self(key)) } else { Err(KeyError::NotPublic) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_base64())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A key that signs. It is never shown: its text is for its file alone.
pub struct SecretKey(pub(crate) minisign::SecretKey);

impl SecretKey {
    /// Makes a pair of keys of the system's randomness.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn generate() -> Result<(Self, PublicKey), KeyError> {
        let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair().map_err(|e| system(&e))?;
        Ok((Self(sk), PublicKey(pk)))
    }

    /// Makes a pair of keys, and the text of the secret one's file, encrypted with this password. Deriving the key from it
    /// takes seconds and a gigabyte of memory, as minisign's own does: so it does for who tries passwords.
    ///
    /// # Errors
    /// If the system gives no randomness, or not the memory.
    pub fn generate_locked(password: &str) -> Result<(String, PublicKey), KeyError> {
        let pair = KeyPair::generate_encrypted_keypair(Some(password.into())).map_err(|e| system(&e))?;
        let id = KeyId::read(pair.pk.keynum());
        let comment = format!("minisign encrypted secret key {id}");
        let text = pair.sk.to_box(Some(&comment)).map_err(|e| system(&e))?;
        Ok((text.into_string(), PublicKey(pair.pk)))
    }

    /// The text of its file, which no password protects.
    ///
    /// # Errors
    /// None that can be told of in advance.
    pub fn to_open_file(&self) -> Result<String, KeyError> {
        let comment = format!("minisign secret key {}", self.id());
        Ok(self.0.to_box(Some(&comment)).map_err(|e| system(&e))?.into_string())
    }

    /// Reads a secret key's file.
    ///
    /// # Errors
    /// [`KeyError::Locked`] if it needs a password and none is given; otherwise if it is no secret key, or the password is
    /// wrong.
    pub fn read(text: &str, password: Option<&str>) -> Result<Self, KeyError> {
        let bytes = decode(text)?;
        match (bytes.get(KDF), password) {
            // minisign leaves the checksum of such a key empty, which the library's own reading does not accept; whether the
            // key is whole shows when its first signature is checked.
            (Some([0, 0]), _) => minisign::SecretKey::from_bytes(&bytes).map(Self).map_err(|e| no_secret(&e)),
            (_, None) => Err(KeyError::Locked),
            (_, Some(password)) => {
                let key = SecretKeyBox::from(text.to_owned()).into_secret_key(Some(password.into()));
                key.map(Self).map_err(|why| match why.kind() {
                    minisign::ErrorKind::Verify => KeyError::WrongPassword,
                    minisign::ErrorKind::KDF => system(&why),
                    _ => no_secret(&why),
                })
            }
        }
    }

    /// Its number, which is the public key's, too.
    pub fn id(&self) -> KeyId {
        KeyId::read(self.0.keynum())
    }

    /// Signs bytes; the comment is signed, too.
    pub(crate) fn sign(&self, file: &[u8], comment: &str) -> Result<minisign::SignatureBox, KeyError> {
        let untrusted = format!("signature from minisign secret key {}", self.id());
        let public = minisign::PublicKey::from_secret_key(&self.0).map_err(|e| system(&e))?;
        minisign::sign(Some(&public), &self.0, Cursor::new(file), Some(comment), Some(&untrusted))
            .map_err(|e| system(&e))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id())
    }
}

/// What the second line of a secret key's file holds: two bytes each for the algorithms of signature, key derivation and
/// checksum, 32 of salt, 16 for the derivation's costs, 8 for the number, 64 for the key, 32 for the checksum.
fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    let line = text.lines().nth(1).ok_or_else(|| no_secret(&"it has no second line"))?;
    let bytes = BASE64_STANDARD.decode(line.trim()).map_err(|e| no_secret(&e))?;
    let known = bytes.get(KDF).is_some_and(|kdf| kdf == [0, 0] || kdf == b"Sc");
    if bytes.len() == 158 && bytes.starts_with(b"Ed") && known {
        Ok(bytes)
    } else {
        Err(no_secret(&"it has other algorithms or another length"))
    }
}

/// Where the algorithm stands that derives a key from the password.
const KDF: std::ops::Range<usize> = 2..4;

fn no_secret(why: &dyn fmt::Display) -> KeyError {
    KeyError::NotSecret(why.to_string())
}

fn system(error: &minisign::PError) -> KeyError {
    KeyError::System(error.to_string())
}
