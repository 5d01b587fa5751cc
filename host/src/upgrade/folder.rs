//! The actors' folder: which of its files have changed, and how a version is put into it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::actors::components;

/// What tells a file's content from what it was before, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// # Errors
    /// If there is no such file.
    pub(super) fn of(file: &Path) -> std::io::Result<Self> {
        let about = fs::metadata(file)?;
        Ok(Self {
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

/// The stamps of a folder's components. A file that goes away meanwhile is none of them.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn stamps(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Stamp>> {
    let files = components(folder)?;
    Ok(files.into_iter().filter_map(|file| Some((file.clone(), Stamp::of(&file).ok()?))).collect())
}

/// Writes a component into a folder so that whoever looks finds it whole or not at all, also after a crash.
///
/// # Errors
/// If it cannot be written there.
pub(super) fn place(wasm: &[u8], file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let cannot = || format!("cannot write {}", file.display());
    // Its name has no `.wasm` at its end: it is no component to anybody yet.
    let mut new = tempfile::Builder::new().prefix(".upload-").tempfile_in(folder).with_context(cannot)?;
    new.write_all(wasm).with_context(cannot)?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    new.as_file().set_permissions(permissions).with_context(cannot)?;
    new.as_file().sync_all().with_context(cannot)?;
    new.persist(file).with_context(cannot)?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)
}
