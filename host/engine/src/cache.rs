//! Code that was compiled before.
//!
//! Compiled code is native code: whoever can put some in front of the host runs as the host. So an entry is only used
//! when it carries an authentication code made with a key that this user alone can read, in a folder that this user
//! alone can write to.

use std::{
    fs,
    hash::{Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use tracing::{debug, warn};

/// A folder of compiled code, which outlives the host's process. Several hosts may use one at a time.
#[derive(Debug)]
pub struct CodeCache {
    folder: PathBuf,
    key: [u8; 32],
    /// How large all entries together may be, in bytes.
    most: u64,
}

/// How large all entries together are unless the operator says otherwise, in bytes.
const MOST: u64 = 1 << 30;

/// What was begun and not ended within this time never will be: the host was killed that wrote it.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// How the files of entries end, and how those begin that are being written.
const ENTRY: &str = "cwasm";
const NEW: &str = ".new-";

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
        Ok(Self { folder: folder.into(), key, most: MOST })
    }

    /// The same, with entries of up to so many bytes together, but for the last one that was put there. By itself it is
    /// 1 GiB.
    #[must_use]
    pub fn at_most(self, bytes: u64) -> Self {
        Self { most: bytes, ..self }
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
        let mut entry = self.read(&path).ok()?;
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
            let mut file = tempfile::Builder::new().prefix(NEW).tempfile_in(&self.folder)?;
            file.write_all(self.mac(key, code).as_bytes())?;
            file.write_all(code)?;
            file.persist(self.path(key)).map_err(|e| e.error)?;
            Ok(())
        };
        match write() {
            Ok(()) => self.tidy(&self.path(key)),
            Err(error) => debug!(%error, "cannot keep compiled code; it will be compiled again"),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        // By this the entries are told apart that nobody needs any more. The time of access is not kept everywhere.
        let nothing = |nsec| Timespec { tv_sec: 0, tv_nsec: nsec };
        let used = Timestamps { last_access: nothing(UTIME_OMIT), last_modification: nothing(UTIME_NOW) };
        let _ = futimens(&file, &used);
        let mut entry = Vec::new();
        file.read_to_end(&mut entry)?;
        Ok(entry)
    }

    /// Removes what was used least recently, until the rest is as large as all may be; never what was put there just now.
    /// Another host may do the same meanwhile: what it has removed is gone for both, and who reads an entry that is removed
    /// reads on.
    fn tidy(&self, new: &Path) {
        let (Ok(files), Ok(now)) =
            (fs::read_dir(&self.folder), fs::metadata(new).and_then(|new| new.modified()))
        else {
            return;
        };
        let mut entries = Vec::new();
        for file in files.flatten() {
            let (path, Ok(about)) = (file.path(), file.metadata()) else { continue };
            let used = about.modified().unwrap_or(now);
            if file.file_name().to_string_lossy().starts_with(NEW) {
                if now.duration_since(used).is_ok_and(|since| since > ABANDONED) {
                    let _ = fs::remove_file(path);
                }
            } else if path.extension().is_some_and(|extension| extension == ENTRY) {
                entries.push((used, about.len(), path));
            }
        }
        entries.sort();
        let mut size: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, bytes, path) in entries.iter().filter(|(_, _, path)| path != new) {
            if size <= self.most {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    debug!(%error, entry = %path.display(), "cannot remove compiled code");
                }
                _ => size = size.saturating_sub(*bytes),
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.{ENTRY}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_least_recently_goes_when_there_is_too_much() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (one, other) =
            (CodeCache::open(folder.path())?.at_most(250), CodeCache::open(folder.path())?.at_most(250));
        let age = |name: &str, hours: u64| {
            let file = fs::File::options().write(true).open(folder.path().join(name))?;
            file.set_modified(file.metadata()?.modified()? - Duration::from_secs(hours * 3600))
        };
        let code = [7; 100 - MAC];
        for (key, hours) in [("a", 9), ("b", 8)] {
            one.put(key, &code);
            age(&format!("{key}.cwasm"), hours)?;
        }
        // What hosts are writing, or were when they were killed.
        for (name, hours) in [(".new-1", 1), (".new-2", 25)] {
            fs::write(folder.path().join(name), [0; 1000])?;
            age(name, hours)?;
        }
        assert!(other.get("a").is_some(), "used now, though older");
        other.put("c", &code);
        assert_eq!(["a", "b", "c"].map(|key| one.get(key).is_some()), [true, false, true]);
        assert_eq!([".new-1", ".new-2"].map(|name| folder.path().join(name).exists()), [true, false]);
        one.put("d", &[7; 1000]);
        assert_eq!(["a", "c", "d"].map(|key| other.get(key).is_some()), [false, false, true]);
        Ok(())
    }
}
