//! A component's file, and the signature that lies beside it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ays_engine::LoadError;
use ays_package::{SIGNATURE_BYTES, SIGNATURE_SUFFIX};

use crate::regular_file;

/// What is read together: what was checked is what is used, whatever becomes of the files meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// The text of its signature, if there is one.
    pub signature: Option<String>,
}

impl PackageFile {
    /// Reads `FILE`, and `FILE.minisig` if it is there, for an engine that loads components of up to `most` bytes.
    ///
    /// # Errors
    /// If one of them cannot be read, or the component has more.
    pub fn read_to_load(file: &Path, most: u64) -> anyhow::Result<Self> {
        Self::read_up_to(file, most, || LoadError::too_large(most).into())
    }

    /// Reads `FILE`, and `FILE.minisig` if it is there.
    ///
    /// # Errors
    /// If one of them cannot be read, or the component has more bytes than any may have.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let most = ays_package::COMPONENT_BYTES as u64;
        let too_large =
            || anyhow::anyhow!("it has more than {most} bytes, the most that any component may have");
        Self::read_up_to(file, most, too_large)
    }

    /// Of a component that has more than `most` bytes no more is read than shows it. That is said before anybody asks who
    /// signed it: a part of it would seem to have been tampered with.
    fn read_up_to(file: &Path, most: u64, too_large: impl FnOnce() -> anyhow::Error) -> anyhow::Result<Self> {
        let component =
            regular_file::read(file, most).with_context(|| format!("cannot read {}", file.display()))?;
        if component.len() as u64 > most {
            return Err(too_large());
        }
        let beside = signature_file(file);
        // One byte more shows that it is no signature.
        let signature = match regular_file::read(&beside, SIGNATURE_BYTES as u64) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", beside.display())),
        };
        Ok(Self { component, signature })
    }

    /// Writes both files; without a signature, one that is there goes. Each is whole at any moment.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let beside = signature_file(file);
        let written = match &self.signature {
            Some(text) => replace(&beside, text.as_bytes()),
            None => match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        written.with_context(|| format!("cannot write {}", beside.display()))?;
        replace(file, &self.component).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// `FILE.minisig`
pub fn signature_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(SIGNATURE_SUFFIX);
    name.into()
}

/// Writes a file beside its place and moves it there: who reads meanwhile sees the old one or the new one.
///
/// # Errors
/// If it cannot be written.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let folder =
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".");
    let mut beside = tempfile::Builder::new()
        .prefix(&name)
        .suffix(".new")
        // What files get that are simply created: less what the user's umask takes away.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    beside.write_all(content)?;
    beside.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_of_a_signature_is_read_than_shows_that_it_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        fs::write(&file, "component").unwrap();
        assert_eq!(PackageFile::read(&file).unwrap().signature, None);
        let beside = fs::File::create(signature_file(&file)).unwrap();
        // Nearly all of it is a hole.
        beside.set_len(1 << 40).unwrap();
        let signature = PackageFile::read(&file).unwrap().signature.unwrap();
        assert_eq!(signature.len(), SIGNATURE_BYTES + 1);
    }
}
