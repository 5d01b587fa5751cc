//! Who holds a store: a lock on a file, which ends with its process, however that ends.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use ays_core::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a holder writes into the file, for who finds it held.
#[derive(Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    since: Timestamp,
}

/// Holds the store while it lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not left to the closing of the file: a child that is just being started has it, too, until it executes.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// That the store of this folder is held, and by whom.
fn held(file: &mut File, folder: &Path) -> Error {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let by = match serde_json::from_str::<Holder>(&text) {
        Ok(holder) => format!("process {} on {}, since {}", holder.pid, holder.host, holder.since),
        // It has the lock, but has not yet written who it is.
        Err(_) => "a process that has just begun".into(),
    };
    Error::Held(format!(
        "the store {} is held by {by}; stop that host, or give this one another store",
        folder.display()
    ))
}

/// Whether the lock of the folder could be taken now; nothing is changed.
///
/// # Errors
/// [`Error::Held`], which names the holder.
pub(super) fn look(folder: &Path) -> Result<()> {
    let Ok(mut file) = File::open(folder.join("lock")) else { return Ok(()) };
    // A shared one: two that look do not take each other for a holder.
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(held(&mut file, folder)),
        _ => {
            let _ = rustix::fs::flock(&file, FlockOperation::Unlock);
            Ok(())
        }
    }
}

impl Lock {
    /// Takes the lock of the folder.
    ///
    /// # Errors
    /// [`Error::Held`], which names the holder.
    pub(super) fn take(folder: &Path, now: Timestamp) -> Result<Self> {
        let path = folder.join("lock");
        let fail = |error: std::io::Error| Error::Io(format!("{}: {error}", path.display()));
        // The file stays when the lock ends: a lock on a file that another process then removes would protect nothing.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(&mut file, folder)),
            Err(error) => return Err(fail(error.into())),
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let holder = Holder { pid: std::process::id(), host, since: now };
        let text = serde_json::to_string(&holder).map_err(|error| fail(error.into()))?;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(fail)?;
        Ok(Self { file })
    }
}
