//! Commands on strings.

use super::keys::expiry;
use super::{Command, int_arg, is};
use crate::keyspace::{Keyspace, Text, Value};
use crate::number::{int, write_int};
use crate::reply::{NOT_AN_INTEGER, OVERFLOW, Outcome, Reply, SYNTAX, WRONG_TYPE, wrong_arity};

/// The most bytes of a string, unless configured otherwise.
const MOST_BYTES: usize = 512 << 20;

pub(super) const COMMANDS: &[Command] = &[
    ("GET", 2, |db, args| Ok(Reply::bulk_or_nil(db.get::<Text>(args[0])?))),
    ("SET", -3, set),
    ("SETNX", 3, |db, args| {
        let free = db.entry(args[0]).is_none();
        if free {
            db.put(args[0], Value::Text(args[1].to_vec()), None);
        }
        Ok(Reply::Int(free.into()))
    }),
    ("GETDEL", 2, |db, args| {
        let held = Reply::bulk_or_nil(db.get::<Text>(args[0])?);
        db.remove(args[0]);
        Ok(held)
    }),
    ("MGET", -2, |db, args| {
        Ok(Reply::Array(
            args.iter().map(|key| Reply::bulk_or_nil(db.get::<Text>(key).unwrap_or(None))).collect(),
        ))
    }),
    ("MSET", -3, mset),
    ("INCR", 2, |db, args| add(db, args[0], 1)),
    ("DECR", 2, |db, args| add(db, args[0], -1)),
    ("INCRBY", 3, |db, args| add(db, args[0], int_arg(args[1])?)),
    ("DECRBY", 3, |db, args| {
        add(db, args[0], int_arg(args[1])?.checked_neg().ok_or("ERR decrement would overflow")?)
    }),
    ("STRLEN", 2, |db, args| Ok(Reply::count(db.get::<Text>(args[0])?.map_or(0, Vec::len)))),
    ("APPEND", 3, append),
    ("GETRANGE", 4, get_range),
    ("SETRANGE", 4, set_range),
];

fn set(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let (key, value) = (args[0], args[1]);
    let (mut nx, mut xx, mut get, mut keep) = (false, false, false, false);
    let mut expires = None;
    let mut options = args[2..].iter();
    while let Some(option) = options.next() {
        let unit = [("EX", 1000, true), ("PX", 1, true), ("EXAT", 1000, false), ("PXAT", 1, false)]
            .into_iter()
            .find(|(word, ..)| is(option, word));
        if is(option, "NX") && !xx {
            nx = true;
        } else if is(option, "XX") && !nx {
            xx = true;
        } else if is(option, "GET") {
            get = true;
        } else if is(option, "KEEPTTL") && expires.is_none() {
            keep = true;
        } else if let (Some((_, scale, relative)), false, None) = (unit, keep, expires) {
            expires = Some((*options.next().ok_or(SYNTAX)?, scale, relative));
        } else {
            return Err(SYNTAX);
        }
    }
    let now = db.now();
    let expires = match expires {
        None => None,
        Some((time, scale, relative)) => {
            let time = int_arg(time)?;
            if time <= 0 {
                return Err("ERR invalid expire time in 'set' command".into());
            }
            Some(expiry(time, scale, if relative { now } else { 0 }, "set")?)
        }
    };
    let before = if get { Reply::bulk_or_nil(db.get::<Text>(key)?) } else { Reply::ok() };
    let old = db.entry(key);
    if (nx && old.is_some()) || (xx && old.is_none()) {
        return Ok(if get { before } else { Reply::Nil });
    }
    let expires = expires.or(old.filter(|_| keep).and_then(|entry| entry.expires));
    db.put(key, Value::Text(value.to_vec()), expires);
    Ok(before)
}

fn mset(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(wrong_arity("mset"));
    }
    for pair in args.chunks_exact(2) {
        db.put(pair[0], Value::Text(pair[1].to_vec()), None);
    }
    Ok(Reply::ok())
}

fn add(db: &mut Keyspace, key: &[u8], amount: i64) -> Outcome {
    let old = match db.get::<Text>(key)? {
        Some(text) => int(text).ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let sum = old.checked_add(amount).ok_or(OVERFLOW)?;
    let text = db.make::<Text>(key)?;
    text.clear();
    write_int(text, sum);
    Ok(Reply::Int(sum))
}

fn append(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let text = db.make::<Text>(args[0])?;
    text.extend_from_slice(args[1]);
    Ok(Reply::count(text.len()))
}

fn get_range(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let (start, end) = (int_arg(args[1])?, int_arg(args[2])?);
    let Some(text) = db.get::<Text>(args[0])? else { return Ok(Reply::bulk(b"")) };
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(b""));
    }
    // An end before the first byte is the first byte, other than in a list.
    let len = i64::try_from(text.len()).expect("a count of things in memory fits");
    let end = if end < 0 { end.saturating_add(len).max(0) } else { end };
    Ok(Reply::bulk(&text[super::span(start, end, text.len())]))
}

fn set_range(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let offset = int_arg(args[1])?;
    let Ok(offset) = usize::try_from(offset) else { return Err("ERR offset is out of range".into()) };
    let written = args[2];
    let len = match db.entry(args[0]).map(|entry| &entry.value) {
        None => 0,
        Some(Value::Text(text)) => text.len(),
        Some(_) => return Err(WRONG_TYPE),
    };
    if written.is_empty() {
        return Ok(Reply::count(len));
    }
    let end = offset.saturating_add(written.len());
    if end > MOST_BYTES {
        return Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
    }
    let text = db.make::<Text>(args[0])?;
    text.resize(len.max(end), 0);
    text[offset..end].copy_from_slice(written);
    Ok(Reply::count(text.len()))
}
