//! Key-value pairs of a service's own, beside its data: what there are, and what a turn changes of them.
//!
//! A service's data is read and written whole with each job; pairs are read and written one at a time, so there may be
//! many. One job of a service is executed at a time, so an action that reads a pair and then writes it loses nothing.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// The most bytes that a key has.
pub const KEY_BYTES: usize = 1 << 10;
/// The most bytes that a value has.
pub const VALUE_BYTES: usize = 1 << 20;
/// The most pairs that a service has.
pub const KEYS: u64 = 100_000;
/// The most keys that are listed at a time.
pub const PAGE_KEYS: u32 = 1000;

/// How many pairs a service has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How many.
    pub keys: u64,
    /// Of their keys and values together.
    pub bytes: u64,
}

impl Usage {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many there are when the pair of this key, whose value has had `before` bytes, has `after`; none where there
    /// is no such pair.
    #[must_use]
    pub fn with(self, key: &str, before: Option<usize>, after: Option<usize>) -> Self {
        let of = |value: Option<usize>| value.map_or((0, 0), |len| (1, (key.len() + len) as u64));
        let (before, after) = (of(before), of(after));
        Self {
            keys: self.keys.saturating_sub(before.0).saturating_add(after.0),
            bytes: self.bytes.saturating_sub(before.1).saturating_add(after.1),
        }
    }
}

/// Values by key; none where the pair is removed.
pub type Writes = BTreeMap<String, Option<Arc<[u8]>>>;

/// What a turn changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The pairs that are set and removed.
    pub writes: Writes,
    /// How many there are then.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_counts_what_is_there() {
        let of = |keys, bytes| Usage { keys, bytes };
        let one = Usage::default().with("key", None, Some(7));
        assert_eq!(one, of(1, 10));
        assert_eq!(one.with("key", Some(7), Some(0)), of(1, 3));
        assert_eq!(one.with("key", Some(7), None), Usage::default());
        assert_eq!(one.with("other", None, None), one);
    }
}
