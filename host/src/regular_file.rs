//! Files that others may have put there: each is a file, and no more of it is read than may be.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// The file's bytes; of one that has more than `most` no more is read than shows it.
///
/// # Errors
/// If it cannot be read, or is a pipe, a device or a folder: reading those may have no end.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for who writes to it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = options.read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), [7; 10]).unwrap();
        assert_eq!(read(&path("file"), 10).unwrap().len(), 10);
        assert_eq!(read(&path("file"), 3).unwrap().len(), 4);
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::RWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        for no_file in ["pipe", "zero", ""] {
            let error = read(&path(no_file), 10).unwrap_err();
            assert_eq!(error.to_string(), "it is no file", "{no_file}");
        }
        assert_eq!(read(&path("none"), 10).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
