//! Looks the database's journals over before it reads them.
//!
//! The database itself stops reading at the first batch that it cannot read, forgets what comes after, and says nothing;
//! or, if such a batch has the right form, refuses to open at all. But one of two things happened, which are to be
//! told apart:
//!
//! * The last batch was being written when the machine lost power. Nobody was told that it is durable, since its sync had
//!   not returned: it is cut off.
//! * The file was damaged later. There are whole batches after the damage, since a batch is written only when the one
//!   before is synced; or it is not the newest journal. Then opening is refused.
//!
//! The format is that of fjall 3 (`journal/entry.rs`), integers little-endian: a batch is `1, items: u32, number: u64`,
//! then its items, each `2, type: u8, compression: u8, keyspace: u64, key: u16, value: u32, stored: u32` with key and
//! stored value following, or `4, keyspace: u64`; then `3, xxh3 of the items: u64, "FJL", 3`. A new file is filled
//! with zeros.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Result};

const TRAILER: &[u8] = b"FJL\x03";

/// Looks over all journals of a database; cuts off a batch that was not finished.
pub(super) fn check(database: &Path) -> Result<()> {
    let at = |path: &Path, error: std::io::Error| Error::Io(format!("{}: {error}", path.display()));
    if !database.exists() {
        return Ok(());
    }
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for file in fs::read_dir(database).map_err(|error| at(database, error))? {
        let path = file.map_err(|error| at(database, error))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let (Some(number), Some("jnl")) = (number, path.extension().and_then(|ext| ext.to_str())) {
            journals.push((number, path));
        }
    }
    journals.sort();
    let newest = journals.last().map(|(number, _)| *number);
    for (number, path) in journals {
        let bytes = fs::read(&path).map_err(|error| at(&path, error))?;
        let Some(damage) = first_damage(&bytes) else { continue };
        if Some(number) != newest || is_batch_after(&bytes, damage) {
            return Err(Error::Io(format!(
                "{path} is damaged at byte {damage}, and there are changes after that which were durable: restore the \
                 store from a copy. To go on without them, cut the file off there, with the host stopped: \
                 truncate -s {damage} {path}",
                path = path.display()
            )));
        }
        tracing::warn!(journal = %path.display(), byte = damage, "the last write was not finished, and is cut off");
        let cut = OpenOptions::new().write(true).open(&path).and_then(|file| {
            file.set_len(damage as u64)?;
            file.sync_all()
        });
        cut.map_err(|error| at(&path, error))?;
    }
    Ok(())
}

/// Where the first batch begins that is not whole; none if all are, up to the end or to the zeros before it.
fn first_damage(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match batch_len(rest) {
            Some(len) => at += len,
            None => return rest.iter().any(|byte| *byte != 0).then_some(at),
        }
    }
}

fn is_batch_after(bytes: &[u8], damage: usize) -> bool {
    (damage + 1..bytes.len()).any(|at| bytes.get(at..).is_some_and(|rest| batch_len(rest).is_some()))
}

/// The length of the batch that the bytes begin with, if it is a whole one.
fn batch_len(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.byte()? != 1 {
        return None;
    }
    let items = u32::from_le_bytes(*reader.array()?);
    reader.skip(8)?;
    let first = reader.at;
    for _ in 0..items {
        match reader.byte()? {
            2 => {
                let _kind = reader.byte()?;
                let compressed = reader.byte()?;
                reader.skip(8)?;
                let key = u16::from_le_bytes(*reader.array()?);
                let value = u32::from_le_bytes(*reader.array()?);
                let stored = u32::from_le_bytes(*reader.array()?);
                if compressed > 1 || (compressed == 0 && value != stored) {
                    return None;
                }
                reader.skip(usize::from(key))?;
                reader.skip(stored as usize)?;
            }
            4 => reader.skip(8)?,
            _ => return None,
        }
    }
    let content = bytes.get(first..reader.at)?;
    if reader.byte()? != 3 {
        return None;
    }
    let sum = u64::from_le_bytes(*reader.array()?);
    let whole = reader.array::<4>()?.as_slice() == TRAILER && sum == xxh3_64(content);
    whole.then_some(reader.at)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let bytes = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| *byte)
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.at = self.at.checked_add(len).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }
}
