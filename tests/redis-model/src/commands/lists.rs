//! Commands on lists.

use super::{Command, count_arg, int_arg, is, span};
use crate::keyspace::{Keyspace, List};
use crate::reply::{Fault, Outcome, Reply, SYNTAX, wrong_arity};

pub(super) const COMMANDS: &[Command] = &[
    ("LPUSH", -3, |db, args| push(db, args, End::Left)),
    ("RPUSH", -3, |db, args| push(db, args, End::Right)),
    ("LPOP", -2, |db, args| pop(db, args, End::Left, "lpop")),
    ("RPOP", -2, |db, args| pop(db, args, End::Right, "rpop")),
    ("LLEN", 2, |db, args| Ok(Reply::count(db.get::<List>(args[0])?.map_or(0, List::len)))),
    ("LRANGE", 4, |db, args| {
        let (start, end) = (int_arg(args[1])?, int_arg(args[2])?);
        let Some(list) = db.get::<List>(args[0])? else { return Ok(Reply::Array(Vec::new())) };
        Ok(Reply::bulks(list.range(span(start, end, list.len()))))
    }),
    ("LINDEX", 3, |db, args| {
        let Some(list) = db.get::<List>(args[0])? else { return Ok(Reply::Nil) };
        Ok(Reply::bulk_or_nil(index(int_arg(args[1])?, list.len()).and_then(|index| list.get(index))))
    }),
    ("LSET", 4, set),
    ("LTRIM", 4, |db, args| {
        let (start, end) = (int_arg(args[1])?, int_arg(args[2])?);
        db.change(args[0], |list: &mut List| {
            let kept = span(start, end, list.len());
            list.truncate(kept.end);
            list.drain(..kept.start);
        })?;
        Ok(Reply::ok())
    }),
    ("LREM", 4, remove),
    ("LINSERT", 5, insert),
    ("LMOVE", 5, |db, args| shift(db, args[0], args[1], End::parse(args[2])?, End::parse(args[3])?)),
    ("RPOPLPUSH", 3, |db, args| shift(db, args[0], args[1], End::Right, End::Left)),
];

/// An end of a list.
#[derive(Clone, Copy)]
enum End {
    Left,
    Right,
}

impl End {
    fn parse(arg: &[u8]) -> Result<Self, Fault> {
        match arg {
            _ if is(arg, "LEFT") => Ok(Self::Left),
            _ if is(arg, "RIGHT") => Ok(Self::Right),
            _ => Err(SYNTAX),
        }
    }

    fn push(self, list: &mut List, element: Vec<u8>) {
        match self {
            Self::Left => list.push_front(element),
            Self::Right => list.push_back(element),
        }
    }

    fn pop(self, list: &mut List) -> Option<Vec<u8>> {
        match self {
            Self::Left => list.pop_front(),
            Self::Right => list.pop_back(),
        }
    }
}

/// The element that an index means, which counts from the end if negative.
fn index(index: i64, len: usize) -> Option<usize> {
    if index >= 0 {
        usize::try_from(index).ok().filter(|index| *index < len)
    } else {
        len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
    }
}

fn push(db: &mut Keyspace, args: &[&[u8]], end: End) -> Outcome {
    let list = db.make::<List>(args[0])?;
    for element in &args[1..] {
        end.push(list, element.to_vec());
    }
    Ok(Reply::count(list.len()))
}

fn pop(db: &mut Keyspace, args: &[&[u8]], end: End, command: &str) -> Outcome {
    let (key, count) = match args {
        [key] => (key, None),
        [key, count] => (key, Some(count_arg(count)?)),
        _ => return Err(wrong_arity(command)),
    };
    let popped = db.change(key, |list: &mut List| match count {
        None => Reply::bulk_or_nil(end.pop(list)),
        Some(count) => {
            let count = count.min(list.len());
            Reply::Array((0..count).map_while(|_| end.pop(list)).map(Reply::Bulk).collect())
        }
    })?;
    Ok(popped.unwrap_or(Reply::Nil))
}

fn set(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let set = db.change(args[0], |list: &mut List| {
        let at = index(int_arg(args[1])?, list.len()).ok_or("ERR index out of range")?;
        list[at] = args[2].to_vec();
        Ok(Reply::ok())
    })?;
    set.unwrap_or(Err("ERR no such key".into()))
}

fn remove(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let (count, element) = (int_arg(args[1])?, args[2]);
    let removed = db.change(args[0], |list: &mut List| {
        let most = if count == 0 { u64::MAX } else { count.unsigned_abs() };
        let mut removed = 0;
        let mut keep = |held: &Vec<u8>| {
            let goes = removed < most && held == element;
            removed += u64::from(goes);
            !goes
        };
        if count < 0 {
            *list = std::mem::take(list).into_iter().rev().filter(|held| keep(held)).collect();
            list.make_contiguous().reverse();
        } else {
            list.retain(&mut keep);
        }
        Reply::Int(i64::try_from(removed).expect("a count of things in memory fits"))
    })?;
    Ok(removed.unwrap_or(Reply::Int(0)))
}

fn insert(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let after = match args[1] {
        word if is(word, "AFTER") => 1,
        word if is(word, "BEFORE") => 0,
        _ => return Err(SYNTAX),
    };
    let inserted = db.change(args[0], |list: &mut List| {
        let Some(pivot) = list.iter().position(|element| element == args[2]) else { return Reply::Int(-1) };
        list.insert(pivot + after, args[3].to_vec());
        Reply::count(list.len())
    })?;
    Ok(inserted.unwrap_or(Reply::Int(0)))
}

fn shift(db: &mut Keyspace, from: &[u8], to: &[u8], out: End, into: End) -> Outcome {
    if db.get::<List>(from)?.is_none() {
        return Ok(Reply::Nil);
    }
    db.get::<List>(to)?;
    let element = if from == to {
        // In one step, so that a list of one element does not vanish and lose its time of expiry.
        db.change(from, |list: &mut List| {
            let element = out.pop(list);
            element.iter().for_each(|element| into.push(list, element.clone()));
            element
        })?
    } else {
        let element = db.change(from, |list: &mut List| out.pop(list))?;
        if let Some(Some(element)) = &element {
            into.push(db.make::<List>(to)?, element.clone());
        }
        element
    };
    Ok(Reply::bulk_or_nil(element.flatten()))
}
