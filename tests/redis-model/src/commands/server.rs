//! Commands about the server, and all keys.

use super::{Command, int_arg, is};
use crate::glob;
use crate::keyspace::Keyspace;
use crate::reply::{Outcome, Reply, SYNTAX, wrong_arity};

pub(super) const COMMANDS: &[Command] = &[
    ("DBSIZE", 1, |db, _| Ok(Reply::count(db.all().len()))),
    ("ECHO", 2, |_, args| Ok(Reply::bulk(args[0]))),
    ("FLUSHALL", -1, flush),
    ("FLUSHDB", -1, flush),
    ("KEYS", 2, |db, args| {
        Ok(Reply::bulks(db.all().map(|(key, _)| key).filter(|key| glob::matches(args[0], key))))
    }),
    ("PING", -1, ping),
    // Nobody listens.
    ("PUBLISH", 3, |_, _| Ok(Reply::Int(0))),
    ("SCAN", -2, scan),
    ("TIME", 1, |db, _| {
        let (seconds, micros) = (db.micros / 1_000_000, db.micros % 1_000_000);
        Ok(Reply::bulks([seconds.to_string(), micros.to_string()]))
    }),
];

fn flush(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    match args {
        [] => {}
        [how] if is(how, "SYNC") || is(how, "ASYNC") => {}
        _ => return Err(SYNTAX),
    }
    db.clear();
    Ok(Reply::ok())
}

fn ping(_: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    match args {
        [] => Ok(Reply::Status("PONG".to_owned())),
        [text] => Ok(Reply::bulk(text)),
        _ => Err(wrong_arity("ping")),
    }
}

/// The options of a scan.
pub(super) struct Scan<'a> {
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    pub(super) fn parse(mut options: &[&'a [u8]], of_keys: bool) -> Result<Self, crate::reply::Fault> {
        let mut scan = Scan { pattern: None, type_name: None };
        loop {
            options = match options {
                [] => return Ok(scan),
                [word, value, rest @ ..] => {
                    if is(word, "COUNT") {
                        if int_arg(value)? < 1 {
                            return Err(SYNTAX);
                        }
                    } else if is(word, "MATCH") {
                        scan.pattern = Some(value);
                    } else if is(word, "TYPE") && of_keys {
                        scan.type_name = Some(value);
                    } else {
                        return Err(SYNTAX);
                    }
                    rest
                }
                [_] => return Err(SYNTAX),
            };
        }
    }

    pub(super) fn takes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// Checks a cursor, whose value says nothing: each scan returns everything. It is what `strtoul` takes, without blanks.
pub(super) fn cursor(arg: &[u8]) -> Result<(), crate::reply::Fault> {
    let digits = arg.strip_prefix(b"-").unwrap_or(arg);
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
    if number.is_some() || arg.is_empty() { Ok(()) } else { Err("ERR invalid cursor".into()) }
}

/// What a scan replies: that there is no more, and what it found.
pub(super) fn scanned(found: Reply) -> Reply {
    Reply::Array(vec![Reply::bulk(b"0"), found])
}

fn scan(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    cursor(args[0])?;
    let scan = Scan::parse(&args[1..], true)?;
    let found = db.all().filter(|(key, value)| {
        scan.takes(key) && scan.type_name.is_none_or(|name| is(name, value.type_name()))
    });
    Ok(scanned(Reply::bulks(found.map(|(key, _)| key))))
}
