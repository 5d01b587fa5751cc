//! Commands on sets.

use super::{Command, count_arg};
use crate::keyspace::{Keyspace, Set};
use crate::reply::{Outcome, Reply, SYNTAX};

pub(super) const COMMANDS: &[Command] = &[
    ("SADD", -3, |db, args| {
        let set = db.make::<Set>(args[0])?;
        Ok(Reply::count(args[1..].iter().filter(|member| set.insert(member.to_vec())).count()))
    }),
    ("SREM", -3, |db, args| {
        let remove = |set: &mut Set| args[1..].iter().filter(|member| set.remove(**member)).count();
        Ok(Reply::count(db.change(args[0], remove)?.unwrap_or(0)))
    }),
    ("SMEMBERS", 2, |db, args| Ok(Reply::bulks(db.get::<Set>(args[0])?.into_iter().flatten()))),
    ("SCARD", 2, |db, args| Ok(Reply::count(db.get::<Set>(args[0])?.map_or(0, Set::len)))),
    ("SISMEMBER", 3, |db, args| {
        Ok(Reply::Int(db.get::<Set>(args[0])?.is_some_and(|set| set.contains(args[1])).into()))
    }),
    ("SMISMEMBER", -3, |db, args| {
        let set = db.get::<Set>(args[0])?;
        let is_member = |member: &&[u8]| Reply::Int(set.is_some_and(|set| set.contains(*member)).into());
        Ok(Reply::Array(args[1..].iter().map(is_member).collect()))
    }),
    ("SPOP", -2, pop),
];

/// Pops the smallest, where Redis takes any.
fn pop(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    match args {
        [key] => Ok(Reply::bulk_or_nil(db.change(key, Set::pop_first)?.flatten())),
        [key, count] => {
            let count = count_arg(count)?;
            let popped = db.change(key, |set: &mut Set| {
                let count = count.min(set.len());
                (0..count).map_while(|_| set.pop_first()).collect::<Vec<_>>()
            })?;
            Ok(Reply::bulks(popped.unwrap_or_default()))
        }
        _ => Err(SYNTAX),
    }
}
