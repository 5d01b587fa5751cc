//! Ids of events, jobs, runs and dead letters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use ulid::Ulid;

use crate::Timestamp;

/// A [ULID](https://github.com/ulid/spec): 48 bits of milliseconds, then 80 bits that make it unique. Ids that one
/// [`IdSource`] gave out sort in the order in which it gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Ulid);

impl Id {
    /// The 128 bits, most significant first: sorts like the id.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }

    /// From what [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Ulid::from_bytes(bytes))
    }

    /// The lowest id of a point in time.
    pub fn first_at(time: Timestamp) -> Self {
        Self(Ulid::from_parts(u64::try_from(time.millis()).unwrap_or(0), 0))
    }

    /// When the id was given out.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id; it has 26 letters and digits, as 01JD5QVC2MDAK1XT9PVQ4N7G3B")]
pub struct InvalidId(String);

impl FromStr for Id {
    type Err = InvalidId;

    /// Reads small letters, too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // 26 digits of 5 bits are two bits too many: beyond `7…` the decoder would drop them in silence.
        let fits = matches!(text.bytes().next(), Some(b'0'..=b'7'));
        let ulid = if fits { Ulid::from_string(text).ok() } else { None };
        ulid.map(Self).ok_or_else(|| InvalidId(text.chars().take(40).collect()))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.array_to_str(&mut [0; ulid::ULID_LEN]))
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Gives out ids that only ever grow, also when the clock steps back.
#[derive(Debug)]
pub struct IdSource {
    last: u128,
    salt: u128,
}

impl IdSource {
    /// Starts after `last`, the greatest id given out so far. `salt` is a random number that keeps the ids of two
    /// sources apart.
    pub fn new(last: Option<Id>, salt: u64) -> Self {
        Self { last: last.map_or(0, |id| id.0.into()), salt: u128::from(salt) << 16 }
    }

    /// The next id.
    pub fn next(&mut self, now: Timestamp) -> Id {
        let fresh = u128::from(Ulid::from_parts(u64::try_from(now.millis()).unwrap_or(0), self.salt));
        self.last = if fresh > self.last { fresh } else { self.last.saturating_add(1) };
        Id(Ulid::from(self.last))
    }
}
