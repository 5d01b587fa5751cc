//! Records as they are stored: JSON.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result};

/// About as long as a job's record is.
const RECORD_BYTES: usize = 512;

/// A record as it is stored.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(RECORD_BYTES);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Error::Io(format!("a record has no JSON form: {error}"))),
    }
}

/// A record as it was stored.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let start = String::from_utf8_lossy(bytes.get(..bytes.len().min(80)).unwrap_or_default());
        Error::Io(format!("a record cannot be read: {error}; it begins with `{start}`"))
    })
}
