//! The actors' folder: which of its files have changed, and how a version is put into it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tempfile::NamedTempFile;
use tracing::{info, warn};

use crate::{
    actors::{components, read_folder},
    package::signature_file,
};

/// What tells a component from what it was before, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    component: FileStamp,
    /// Of the signature beside it, where one is asked for: often it is written after the component.
    signature: Option<FileStamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(file: &Path) -> io::Result<Self> {
        let about = fs::metadata(file)?;
        Ok(Self {
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

impl Stamp {
    /// Of a component, and with `signed` of its signature.
    ///
    /// # Errors
    /// If there is no such component.
    pub(super) fn of(file: &Path, signed: bool) -> io::Result<Self> {
        let component = FileStamp::of(file)?;
        let signature = signed.then(|| FileStamp::of(&signature_file(file)).ok()).flatten();
        Ok(Self { component, signature })
    }
}

/// The stamps of a folder's components, and with `signed` of their signatures. A file that goes away meanwhile is none of
/// them.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn stamps(folder: &Path, signed: bool) -> anyhow::Result<BTreeMap<PathBuf, Stamp>> {
    let files = components(folder)?;
    Ok(files.into_iter().filter_map(|file| Some((file.clone(), Stamp::of(&file, signed).ok()?))).collect())
}

/// How the name begins of a file that is being uploaded. It has no `.wasm` at its end.
const UPLOAD: &str = ".upload-";

/// An upload that was written so long ago is none that another host, which shares the folder, is about to put into service.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

/// Removes what uploads left that a host did not live to put into service.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn remove_abandoned(folder: &Path) -> anyhow::Result<()> {
    for file in read_folder(folder)? {
        let Ok(file) = file else { continue };
        let is_upload = file.file_name().to_str().is_some_and(|name| name.starts_with(UPLOAD));
        let modified = || file.metadata().and_then(|about| about.modified()).ok();
        // One from the future has no age.
        let is_old = || modified()?.elapsed().ok().map(|age| age > ABANDONED_AFTER);
        if is_upload && is_old().unwrap_or(false) {
            match fs::remove_file(file.path()) {
                Ok(()) => {
                    info!("removed {}, an upload that was never put into service", file.path().display())
                }
                Err(why) => warn!("cannot remove {}: {why}", file.path().display()),
            }
        }
    }
    Ok(())
}

/// A component that lies in a folder, whole and durable, and is none to anybody yet. It goes when it is dropped.
pub(super) struct Staged(NamedTempFile);

impl Staged {
    /// # Errors
    /// If it cannot be written there.
    pub(super) fn new(wasm: &[u8], folder: &Path) -> anyhow::Result<Self> {
        let write = || -> io::Result<Self> {
            let mut new = tempfile::Builder::new().prefix(UPLOAD).tempfile_in(folder)?;
            new.write_all(wasm)?;
            new.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
            new.as_file().sync_all()?;
            Ok(Self(new))
        };
        write().with_context(|| format!("cannot write into {}", folder.display()))
    }

    /// Moves it to its place, where whoever looks finds the one before or this one, also after a crash. Without `replace`
    /// there must be none before.
    ///
    /// # Errors
    /// If it cannot be moved there.
    pub(super) fn place(self, file: &Path, replace: bool) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", file.display());
        let placed = if replace { self.0.persist(file) } else { self.0.persist_noclobber(file) };
        placed.with_context(cannot)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)
    }
}
