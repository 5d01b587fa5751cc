//! The data: keys, the values under them, and when they expire.

use crate::reply::{Fault, WRONG_TYPE};
use crate::zset::ZSet;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) type Text = Vec<u8>;
pub(crate) type List = VecDeque<Vec<u8>>;
/// Fields in their order, so that listings are the same in every run.
pub(crate) type Hash = BTreeMap<Vec<u8>, Vec<u8>>;
pub(crate) type Set = BTreeSet<Vec<u8>>;

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Text),
    List(List),
    Hash(Hash),
    Set(Set),
    ZSet(ZSet),
}

impl Value {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::ZSet(_) => "zset",
        }
    }
}

/// A type of value: how it is found in a [`Value`], and when it vanishes.
pub(crate) trait Kind: Default {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn wrap(self) -> Value;
    /// Whether its key is to vanish.
    fn is_gone(&self) -> bool;
}

macro_rules! kind {
    ($type:ty, $variant:ident, $gone:expr) => {
        impl Kind for $type {
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$variant(held) = value { Some(held) } else { None }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$variant(held) = value { Some(held) } else { None }
            }
            fn wrap(self) -> Value {
                Value::$variant(self)
            }
            fn is_gone(&self) -> bool {
                let gone: fn(&Self) -> bool = $gone;
                gone(self)
            }
        }
    };
}
kind!(Text, Text, |_| false);
kind!(List, List, Self::is_empty);
kind!(Hash, Hash, Self::is_empty);
kind!(Set, Set, Self::is_empty);
kind!(ZSet, ZSet, Self::is_empty);

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// When it expires, in milliseconds since 1970.
    pub(crate) expires: Option<i64>,
}

/// All keys, and what time it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyspace {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// Microseconds since 1970.
    pub(crate) micros: u64,
}

impl Keyspace {
    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.micros / 1000).expect("a thousandth of a u64 fits")
    }

    /// What is under a key, expired things being dropped.
    pub(crate) fn entry(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let now = self.now();
        if self.entries.get(key)?.expires.is_some_and(|at| at <= now) {
            self.entries.remove(key);
        }
        self.entries.get_mut(key)
    }

    /// The value under a key, which must be of this type.
    pub(crate) fn get<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&T>, Fault> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        T::of(&entry.value).map(Some).ok_or(WRONG_TYPE)
    }

    /// The value under a key, made if there is none. The caller puts something into it.
    pub(crate) fn make<T: Kind>(&mut self, key: &[u8]) -> Result<&mut T, Fault> {
        if self.entry(key).is_none() {
            self.put(key, T::default().wrap(), None);
        }
        let entry = self.entries.get_mut(key).expect("it is there or was put");
        T::of_mut(&mut entry.value).ok_or(WRONG_TYPE)
    }

    /// Changes the value under a key, if there is one; the key vanishes with its last element.
    pub(crate) fn change<T: Kind, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>, Fault> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        let value = T::of_mut(&mut entry.value).ok_or(WRONG_TYPE)?;
        let result = change(value);
        if value.is_gone() {
            self.entries.remove(key);
        }
        Ok(Some(result))
    }

    /// Replaces whatever is under a key.
    pub(crate) fn put(&mut self, key: &[u8], value: Value, expires: Option<i64>) {
        self.entries.insert(key.to_vec(), Entry { value, expires });
    }

    /// Removes a key; whether it was there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        self.entry(key).is_some() && self.entries.remove(key).is_some()
    }

    /// All keys in order, with what is under them.
    pub(crate) fn all(&mut self) -> impl ExactSizeIterator<Item = (&Vec<u8>, &Value)> {
        let now = self.now();
        self.entries.retain(|_, entry| entry.expires.is_none_or(|at| at > now));
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
