//! Commands on hashes.

use super::server::{Scan, cursor, scanned};
use super::{Command, int_arg};
use crate::keyspace::{Hash, Keyspace};
use crate::number::int;
use crate::reply::{OVERFLOW, Outcome, Reply, wrong_arity};

pub(super) const COMMANDS: &[Command] = &[
    ("HSET", -4, |db, args| Ok(Reply::count(set(db, args, "hset")?))),
    ("HMSET", -4, |db, args| {
        set(db, args, "hmset")?;
        Ok(Reply::ok())
    }),
    ("HSETNX", 4, |db, args| {
        let hash = db.make::<Hash>(args[0])?;
        let free = !hash.contains_key(args[1]);
        if free {
            hash.insert(args[1].to_vec(), args[2].to_vec());
        }
        Ok(Reply::Int(free.into()))
    }),
    ("HGET", 3, |db, args| {
        Ok(Reply::bulk_or_nil(db.get::<Hash>(args[0])?.and_then(|hash| hash.get(args[1]))))
    }),
    ("HMGET", -3, |db, args| {
        let hash = db.get::<Hash>(args[0])?;
        let value = |field: &&[u8]| Reply::bulk_or_nil(hash.and_then(|hash| hash.get(*field)));
        Ok(Reply::Array(args[1..].iter().map(value).collect()))
    }),
    ("HGETALL", 2, |db, args| list(db, args[0], |(field, value)| [Some(field), Some(value)])),
    ("HKEYS", 2, |db, args| list(db, args[0], |(field, _)| [Some(field), None])),
    ("HVALS", 2, |db, args| list(db, args[0], |(_, value)| [None, Some(value)])),
    ("HDEL", -3, |db, args| {
        let delete =
            |hash: &mut Hash| args[1..].iter().filter(|field| hash.remove(**field).is_some()).count();
        Ok(Reply::count(db.change(args[0], delete)?.unwrap_or(0)))
    }),
    ("HEXISTS", 3, |db, args| {
        Ok(Reply::Int(db.get::<Hash>(args[0])?.is_some_and(|hash| hash.contains_key(args[1])).into()))
    }),
    ("HLEN", 2, |db, args| Ok(Reply::count(db.get::<Hash>(args[0])?.map_or(0, Hash::len)))),
    ("HSTRLEN", 3, |db, args| {
        Ok(Reply::count(db.get::<Hash>(args[0])?.and_then(|hash| hash.get(args[1])).map_or(0, Vec::len)))
    }),
    ("HINCRBY", 4, increment),
    ("HSCAN", -3, scan),
];

fn set(db: &mut Keyspace, args: &[&[u8]], command: &str) -> Result<usize, crate::reply::Fault> {
    let (key, pairs) = (args[0], &args[1..]);
    if !pairs.len().is_multiple_of(2) {
        return Err(wrong_arity(command));
    }
    let hash = db.make::<Hash>(key)?;
    let mut added = 0;
    for pair in pairs.chunks_exact(2) {
        match hash.get_mut(pair[0]) {
            Some(value) => {
                value.clear();
                value.extend_from_slice(pair[1]);
            }
            None => {
                hash.insert(pair[0].to_vec(), pair[1].to_vec());
                added += 1;
            }
        }
    }
    Ok(added)
}

/// A field and its value.
type Pair<'a> = (&'a Vec<u8>, &'a Vec<u8>);

fn list(db: &mut Keyspace, key: &[u8], what: fn(Pair<'_>) -> [Option<&Vec<u8>>; 2]) -> Outcome {
    let Some(hash) = db.get::<Hash>(key)? else { return Ok(Reply::Array(Vec::new())) };
    Ok(Reply::bulks(hash.iter().flat_map(what).flatten()))
}

fn increment(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let (key, field, amount) = (args[0], args[1], int_arg(args[2])?);
    let old = match db.get::<Hash>(key)?.and_then(|hash| hash.get(field)) {
        Some(text) => int(text).ok_or("ERR hash value is not an integer")?,
        None => 0,
    };
    let sum = old.checked_add(amount).ok_or(OVERFLOW)?;
    db.make::<Hash>(key)?.insert(field.to_vec(), sum.to_string().into_bytes());
    Ok(Reply::Int(sum))
}

fn scan(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    cursor(args[1])?;
    let Some(hash) = db.get::<Hash>(args[0])? else { return Ok(scanned(Reply::Array(Vec::new()))) };
    let scan = Scan::parse(&args[2..], false)?;
    let found = hash.iter().filter(|(field, _)| scan.takes(field));
    Ok(scanned(Reply::bulks(found.flat_map(|(field, value)| [field, value]))))
}
