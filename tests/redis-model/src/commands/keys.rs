//! Commands on keys, whatever is under them.

use super::{Command, int_arg, is};
use crate::keyspace::Keyspace;
use crate::reply::{Fault, Outcome, Reply};

pub(super) const COMMANDS: &[Command] = &[
    ("DEL", -2, delete),
    ("UNLINK", -2, delete),
    ("EXISTS", -2, |db, args| Ok(Reply::count(args.iter().filter(|key| db.entry(key).is_some()).count()))),
    ("TYPE", 2, |db, args| {
        let name = db.entry(args[0]).map_or("none", |entry| entry.value.type_name());
        Ok(Reply::Status(name.to_owned()))
    }),
    ("RENAME", 3, rename),
    ("EXPIRE", -3, |db, args| expire(db, args, 1000, true, "expire")),
    ("PEXPIRE", -3, |db, args| expire(db, args, 1, true, "pexpire")),
    ("EXPIREAT", -3, |db, args| expire(db, args, 1000, false, "expireat")),
    ("PEXPIREAT", -3, |db, args| expire(db, args, 1, false, "pexpireat")),
    ("PTTL", 2, |db, args| Ok(Reply::Int(left(db, args[0], |at, now| at - now)))),
    ("TTL", 2, |db, args| Ok(Reply::Int(left(db, args[0], |at, now| (at - now + 500) / 1000)))),
    ("PEXPIRETIME", 2, |db, args| Ok(Reply::Int(left(db, args[0], |at, _| at)))),
    ("EXPIRETIME", 2, |db, args| Ok(Reply::Int(left(db, args[0], |at, _| (at + 500) / 1000)))),
    ("PERSIST", 2, |db, args| {
        let had = db.entry(args[0]).and_then(|entry| entry.expires.take());
        Ok(Reply::Int(had.is_some().into()))
    }),
];

fn delete(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(args.iter().filter(|key| db.remove(key)).count()))
}

fn rename(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let entry = db.entry(args[0]).ok_or("ERR no such key")?.clone();
    db.remove(args[0]);
    db.put(args[1], entry.value, entry.expires);
    Ok(Reply::ok())
}

/// A time in the unit of `scale` milliseconds, since now or since 1970, as milliseconds since 1970.
pub(super) fn expiry(time: i64, scale: i64, base: i64, command: &str) -> Result<i64, Fault> {
    let at = time.checked_mul(scale).and_then(|millis| millis.checked_add(base));
    at.ok_or_else(|| format!("ERR invalid expire time in '{command}' command").into())
}

/// When a key expires, or what Redis says if there is none or it does not.
fn left(db: &mut Keyspace, key: &[u8], from: impl FnOnce(i64, i64) -> i64) -> i64 {
    let now = db.now();
    match db.entry(key) {
        None => -2,
        Some(entry) => entry.expires.map_or(-1, |at| from(at, now)),
    }
}

fn expire(db: &mut Keyspace, args: &[&[u8]], scale: i64, relative: bool, command: &str) -> Outcome {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in &args[2..] {
        let known = [("NX", &mut nx), ("XX", &mut xx), ("GT", &mut gt), ("LT", &mut lt)];
        match known.into_iter().find(|(word, _)| is(option, word)) {
            Some((_, flag)) => *flag = true,
            None => return Err(format!("ERR Unsupported option {}", String::from_utf8_lossy(option)).into()),
        }
    }
    if nx && (xx || gt || lt) {
        return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
    }
    if gt && lt {
        return Err("ERR GT and LT options at the same time are not compatible".into());
    }
    let now = db.now();
    let at = expiry(int_arg(args[1])?, scale, if relative { now } else { 0 }, command)?;
    let Some(entry) = db.entry(args[0]) else { return Ok(Reply::Int(0)) };
    let refused = match entry.expires {
        None => xx || gt,
        Some(old) => nx || (gt && at <= old) || (lt && at >= old),
    };
    if refused {
        return Ok(Reply::Int(0));
    }
    // A time in the past removes the key with the next look at it.
    entry.expires = Some(at);
    Ok(Reply::Int(1))
}
