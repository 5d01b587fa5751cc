//! Code that was compiled before.
//!
//! Compiled code is native code: whoever can put some in front of the host runs as the host. So an entry is only used
//! when it carries an authentication code made with a key that this user alone can read, in a folder that this user
//! alone can write to.

use std::{
    fs,
    hash::{Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tracing::{debug, warn};

/// A folder of compiled code, which outlives the host's process.
#[derive(Debug)]
pub struct CodeCache {
    folder: PathBuf,
    key: [u8; 32],
}

/// Length of an entry's authentication code, in bytes; the code follows.
const MAC: usize = 32;

impl CodeCache {
    /// Opens the cache in this folder, making it if need be.
    ///
    /// # Errors
    /// If it cannot be made or read, or belongs to another user, or others may write to it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let meta = fs::metadata(folder)?;
        let me = rustix::process::geteuid().as_raw();
        if meta.uid() != me {
            let what =
                format!("the code cache {} belongs to user {}, not to {me}", folder.display(), meta.uid());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        if meta.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
            // What others could have put there is not trusted: with a new key it is not ours.
            match fs::remove_file(folder.join("key")) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        let key = read_or_make_key(&folder.join("key"))?;
        Ok(Self { folder: folder.into(), key })
    }

    /// The name under which the code of a component is kept, for this engine on this machine.
    pub(crate) fn key(engine: &wasmtime::Engine, digest: &blake3::Hash) -> String {
        let mut hasher = Blake3(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(digest.as_bytes());
        hasher.0.finalize().to_hex().to_string()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut entry = fs::read(&path).ok()?;
        if entry.len() < MAC {
            return None;
        }
        let code = entry.split_off(MAC);
        let given: [u8; MAC] = entry.try_into().ok()?;
        // `blake3::Hash` compares in constant time.
        if self.mac(key, &code) == blake3::Hash::from_bytes(given) {
            return Some(code);
        }
        warn!(entry = %path.display(), "an entry of the code cache is not ours: compiling again");
        None
    }

    pub(crate) fn put(&self, key: &str, code: &[u8]) {
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(self.mac(key, code).as_bytes())?;
            file.write_all(code)?;
            file.persist(self.path(key)).map_err(|e| e.error)?;
            Ok(())
        };
        if let Err(error) = write() {
            debug!(%error, "cannot keep compiled code; it will be compiled again");
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.cwasm"))
    }

    fn mac(&self, key: &str, code: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key).update(key.as_bytes()).update(code).finalize()
    }
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(key) => {
            if let Ok(key) = key.try_into() {
                return Ok(key);
            }
            fs::remove_file(path)?;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mut key = [0; 32];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(&key)?,
        // Another host made it just now.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let made = fs::read(path)?;
            return made.try_into().map_err(|_| io::Error::other("the code cache's key is being written"));
        }
        Err(e) => return Err(e),
    }
    Ok(key)
}

/// Hashes with blake3 what implements [`Hash`], since the standard library's hasher may change between releases.
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
