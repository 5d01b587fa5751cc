//! `interface kv`.

use std::{ops::Bound, sync::Arc};

use async_trait::async_trait;
use ays_core::{
    ServiceKey,
    job::FailureKind,
    kv::{Change, KEY_BYTES, KEYS, PAGE_KEYS, Usage, VALUE_BYTES, Writes},
    limits::beyond,
};

use super::without_secrets;
use crate::{
    bindings::ays::actor::{kv::Host, types::Error},
    breach::Breach,
    state::{Call, State},
};

/// Where the key-value pairs of services are kept.
#[async_trait]
pub trait KeyValues: Send + Sync + 'static {
    /// The value of a service's pair of this key, if there is one.
    ///
    /// # Errors
    /// Why it cannot be read.
    async fn get(&self, service: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>, String>;

    /// Up to `limit` keys of a service's pairs that begin with `prefix` and come after `after`, in the order of their bytes.
    ///
    /// # Errors
    /// Why they cannot be read.
    async fn keys(
        &self,
        service: &ServiceKey,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, String>;
}

/// A service's key-value pairs as a job finds them: what is kept, and what turns before it changed that may not be kept yet.
#[derive(Clone)]
pub struct Pairs {
    kept: Arc<dyn KeyValues>,
    changed: Arc<Writes>,
    usage: Usage,
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pairs").field("usage", &self.usage).finish_non_exhaustive()
    }
}

impl Pairs {
    /// Those that are kept, and how many there are.
    pub fn new(kept: Arc<dyn KeyValues>, usage: Usage) -> Self {
        Self { kept, changed: Arc::default(), usage }
    }

    /// How many there are.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// A turn has changed them.
    pub fn change(&mut self, change: &Change) {
        Arc::make_mut(&mut self.changed).extend(change.writes.clone());
        self.usage = change.usage;
    }

    /// The value of a key, when a turn makes these changes.
    async fn get(
        &self,
        service: &ServiceKey,
        writes: &Writes,
        key: &str,
    ) -> Result<Option<Arc<[u8]>>, String> {
        match writes.get(key).or_else(|| self.changed.get(key)) {
            Some(value) => Ok(value.clone()),
            None => self.kept.get(service, key).await,
        }
    }

    /// A page of keys, when a turn makes these changes.
    async fn keys(
        &self,
        service: &ServiceKey,
        writes: &Writes,
        prefix: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, String> {
        let mut found: Vec<String> = Vec::new();
        let mut after = after;
        loop {
            let kept = self.kept.keys(service, prefix, after.as_deref(), limit).await?;
            // Up to here the changes are to be told among what is kept; to the end, if there is no more of it.
            let last = (kept.len() >= limit).then(|| kept.last().cloned()).flatten();
            let is_changed = |key: &String| writes.contains_key(key) || self.changed.contains_key(key);
            let mut page: Vec<String> = kept.into_iter().filter(|key| !is_changed(key)).collect();
            let from = match &after {
                Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
                _ => Bound::Included(prefix),
            };
            let to = last.as_deref().map_or(Bound::Unbounded, Bound::Included);
            let changes = |of: &Writes| -> Vec<String> {
                let range = of.range::<str, _>((from, to)).take_while(|(key, _)| key.starts_with(prefix));
                range.filter(|(_, value)| value.is_some()).map(|(key, _)| key.clone()).collect()
            };
            page.extend(changes(writes));
            page.extend(changes(&self.changed).into_iter().filter(|key| !writes.contains_key(key)));
            page.sort_unstable();
            found.extend(page);
            if found.len() >= limit || last.is_none() {
                found.truncate(limit);
                return Ok(found);
            }
            after = last;
        }
    }
}

impl Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let call = self.call()?;
        if let Err(refused) = allow(call).and_then(|()| check_key(&key)) {
            return Ok(Err(refused));
        }
        let value = read(call, &key).await?;
        Ok(Ok(value.map(|value| value.to_vec())))
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let call = self.call()?;
        if let Err(refused) = allow(call).and_then(|()| check(call, &key, &value)) {
            return Ok(Err(refused));
        }
        let before = read(call, &key).await?;
        if before.as_deref() == Some(&value[..]) {
            return Ok(Ok(()));
        }
        let usage = call.kv.usage.with(&key, before.as_ref().map(|before| before.len()), Some(value.len()));
        if let Err(refused) = fits(usage, call.kv.usage, call.limits.kv_bytes) {
            return Ok(Err(refused));
        }
        call.spend(key.len() + value.len())?;
        call.kv.usage = usage;
        call.kv.writes.insert(key, Some(value.into()));
        Ok(Ok(()))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        let call = self.call()?;
        if let Err(refused) = allow(call).and_then(|()| check_key(&key)) {
            return Ok(Err(refused));
        }
        if let Some(before) = read(call, &key).await? {
            call.spend(key.len())?;
            call.kv.usage = call.kv.usage.with(&key, Some(before.len()), None);
            call.kv.writes.insert(key, None);
        }
        Ok(Ok(()))
    }

    async fn keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<String>, Error>> {
        let call = self.call()?;
        if let Err(refused) = allow(call) {
            return Ok(Err(refused));
        }
        if limit == 0 || limit > PAGE_KEYS {
            let message = format!("{limit} keys at a time; 1 to {PAGE_KEYS} would be right");
            return Ok(Err(Error::Invalid(message)));
        }
        // No key is longer, so nothing comes of a longer one, and the store need not see it.
        for (what, text) in [("prefix", Some(&prefix)), ("key to come after", after.as_ref())] {
            if let Some(text) = text
                && text.len() > KEY_BYTES
            {
                return Ok(Err(too_long(what, text)));
            }
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let found = call.pairs.keys(&call.service, &call.kv.writes, &prefix, after, limit).await;
        found.map(Ok).map_err(|why| unreadable(&why))
    }
}

fn allow(call: &Call) -> Result<(), Error> {
    call.access.kv().map_err(|denied| Error::Denied(call.denials.add(&denied)))
}

async fn read(call: &Call, key: &str) -> wasmtime::Result<Option<Arc<[u8]>>> {
    let found = call.pairs.get(&call.service, &call.kv.writes, key).await;
    found.map_err(|why| unreadable(&why))
}

/// The guest can do nothing about it: the job is tried again.
fn unreadable(why: &str) -> wasmtime::Error {
    Breach::error(FailureKind::Host, format!("the service's key-value pairs cannot be read: {why}"))
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::Invalid("the key is empty; text of 1 to 1024 bytes would be right".into()));
    }
    if key.len() > KEY_BYTES { Err(too_long("key", key)) } else { Ok(()) }
}

fn too_long(what: &str, text: &str) -> Error {
    Error::Limit(format!("the {what} has {} bytes; a key has at most {KEY_BYTES}", text.len()))
}

fn check(call: &Call, key: &str, value: &[u8]) -> Result<(), Error> {
    check_key(key)?;
    if value.len() > VALUE_BYTES {
        let message = format!("the value has {} bytes; a value has at most {VALUE_BYTES}", value.len());
        return Err(Error::Limit(message));
    }
    if !call.known.is_empty() {
        without_secrets(call, "key", key)?;
        without_secrets(call, "value", &String::from_utf8_lossy(value))?;
    }
    Ok(())
}

/// What a service would keep. Where it has more than it may, since the limit was another, it can still come to have less.
fn fits(usage: Usage, before: Usage, most_bytes: u64) -> Result<(), Error> {
    if usage.keys > KEYS && usage.keys > before.keys {
        let message = format!("the service would have {} keys; it can have at most {KEYS}", usage.keys);
        return Err(Error::Limit(message));
    }
    if usage.bytes > most_bytes && usage.bytes > before.bytes {
        let what = format_args!("the service's keys and values would have {} bytes", usage.bytes);
        return Err(Error::Limit(beyond("kv_bytes", what, most_bytes)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::collections::BTreeMap;

    use super::*;

    /// Keeps in memory.
    struct Kept(BTreeMap<String, Arc<[u8]>>);

    #[async_trait]
    impl KeyValues for Kept {
        async fn get(&self, _: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>, String> {
            Ok(self.0.get(key).cloned())
        }

        async fn keys(
            &self,
            _: &ServiceKey,
            prefix: &str,
            after: Option<&str>,
            limit: usize,
        ) -> Result<Vec<String>, String> {
            let wanted =
                |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
            Ok(self.0.keys().filter(wanted).take(limit).cloned().collect())
        }
    }

    /// Whatever is kept, and whatever turns changed of it, reads show one list: that which would be kept in the end.
    #[tokio::test]
    async fn reads_show_what_is_kept_with_all_changes_made() {
        let service: ServiceKey = "act__a".parse().unwrap();
        let mut seed = 1_u64;
        let mut chance = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..400 {
            let mut expected = BTreeMap::new();
            let mut layers = Vec::new();
            for _ in 0..4 {
                let mut writes = Writes::new();
                for _ in 0..chance(12) {
                    let key = format!("{}{}", ["a", "b", "ba"][chance(3) as usize], chance(9));
                    let value = (chance(3) > 0).then(|| Arc::from([chance(250) as u8]));
                    writes.insert(key, value);
                }
                for (key, value) in &writes {
                    match value {
                        Some(value) => drop(expected.insert(key.clone(), value.clone())),
                        None => drop(expected.remove(key)),
                    }
                }
                layers.push((writes, expected.clone()));
            }
            let own = layers.pop().unwrap().0;
            let kept = Arc::new(Kept(layers[0].1.clone()));
            let mut pairs = Pairs::new(kept, Usage::default());
            for (writes, _) in &layers[1..] {
                pairs.change(&Change { writes: writes.clone(), usage: Usage::default() });
            }
            for prefix in ["", "a", "b", "ba", "c"] {
                let mut found: Vec<String> = Vec::new();
                let limit = 1 + chance(4) as usize;
                loop {
                    let after = found.last().cloned();
                    let page = pairs.keys(&service, &own, prefix, after, limit).await.unwrap();
                    found.extend(page.iter().cloned());
                    if page.len() < limit {
                        break;
                    }
                }
                let of_prefix: Vec<_> =
                    expected.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
                assert_eq!(found, of_prefix, "{prefix}, {limit} at a time");
            }
            for key in ["a0", "b1", "ba2"] {
                assert_eq!(pairs.get(&service, &own, key).await.unwrap().as_ref(), expected.get(key));
            }
        }
    }
}
