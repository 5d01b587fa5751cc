//! Commands on sorted sets, other than those on ranges.

use super::{Command, count_arg, is};
use crate::keyspace::Keyspace;
use crate::number::{double, float};
use crate::reply::{NOT_A_FLOAT, Outcome, Reply, SYNTAX};
use crate::zset::ZSet;

pub(super) const COMMANDS: &[Command] = &[
    ("ZADD", -4, add),
    ("ZINCRBY", 4, |db, args| {
        let amount = float(args[1]).ok_or(NOT_A_FLOAT)?;
        put(db, args[0], &[(amount, args[2])], &Options { incr: true, ..Options::default() })
    }),
    ("ZREM", -3, |db, args| {
        let remove = |zset: &mut ZSet| args[1..].iter().filter(|member| zset.remove(member)).count();
        Ok(Reply::count(db.change(args[0], remove)?.unwrap_or(0)))
    }),
    ("ZSCORE", 3, |db, args| {
        let zset = db.get::<ZSet>(args[0])?;
        Ok(Reply::bulk_or_nil(zset.and_then(|zset| zset.score(args[1])).map(double)))
    }),
    ("ZMSCORE", -3, |db, args| {
        let zset = db.get::<ZSet>(args[0])?;
        let score = |member: &&[u8]| Reply::bulk_or_nil(zset.and_then(|zset| zset.score(member)).map(double));
        Ok(Reply::Array(args[1..].iter().map(score).collect()))
    }),
    ("ZCARD", 2, |db, args| Ok(Reply::count(db.get::<ZSet>(args[0])?.map_or(0, ZSet::len)))),
    ("ZRANK", 3, |db, args| rank(db, args, false)),
    ("ZREVRANK", 3, |db, args| rank(db, args, true)),
    ("ZPOPMIN", -2, |db, args| pop(db, args, false)),
    ("ZPOPMAX", -2, |db, args| pop(db, args, true)),
];

#[derive(Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

fn add(db: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let mut options = Options::default();
    let mut rest = &args[1..];
    while let [option, after @ ..] = rest {
        let flag = match option {
            _ if is(option, "NX") => &mut options.nx,
            _ if is(option, "XX") => &mut options.xx,
            _ if is(option, "GT") => &mut options.gt,
            _ if is(option, "LT") => &mut options.lt,
            _ if is(option, "CH") => &mut options.ch,
            _ if is(option, "INCR") => &mut options.incr,
            _ => break,
        };
        *flag = true;
        rest = after;
    }
    let Options { nx, xx, gt, lt, incr, .. } = options;
    if rest.is_empty() || !rest.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    if nx && xx {
        return Err("ERR XX and NX options at the same time are not compatible".into());
    }
    if ((gt || lt) && nx) || (gt && lt) {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
    }
    if incr && rest.len() > 2 {
        return Err("ERR INCR option supports a single increment-element pair".into());
    }
    let pair = |pair: &[&'_ [u8]]| float(pair[0]).ok_or(NOT_A_FLOAT);
    let scores = rest.chunks_exact(2).map(pair).collect::<Result<Vec<_>, _>>()?;
    let members = rest.iter().skip(1).step_by(2);
    let elements: Vec<_> = scores.into_iter().zip(members.copied()).collect();
    put(db, args[0], &elements, &options)
}

fn put(db: &mut Keyspace, key: &[u8], elements: &[(f64, &[u8])], options: &Options) -> Outcome {
    let is_missing = db.get::<ZSet>(key)?.is_none();
    let (mut added, mut updated, mut result) = (0, 0, None);
    // With XX there would be nothing to put into a new set.
    if !(is_missing && options.xx) {
        let zset = db.make::<ZSet>(key)?;
        for (given, member) in elements {
            let mut score = *given;
            match zset.score(member) {
                Some(_) if options.nx => {}
                Some(old) => {
                    if options.incr {
                        score += old;
                        if score.is_nan() {
                            return Err("ERR resulting score is not a number (NaN)".into());
                        }
                    }
                    if (options.lt && score >= old) || (options.gt && score <= old) {
                        continue;
                    }
                    result = Some(score);
                    if score != old {
                        zset.insert(member, score);
                        updated += 1;
                    }
                }
                None if options.xx => {}
                None => {
                    zset.insert(member, score);
                    result = Some(score);
                    added += 1;
                }
            }
        }
    }
    Ok(match (options.incr, options.ch) {
        (true, _) => Reply::bulk_or_nil(result.map(double)),
        (false, true) => Reply::Int(added + updated),
        (false, false) => Reply::Int(added),
    })
}

fn rank(db: &mut Keyspace, args: &[&[u8]], reverse: bool) -> Outcome {
    let Some(zset) = db.get::<ZSet>(args[0])? else { return Ok(Reply::Nil) };
    let Some(rank) = zset.rank(args[1]) else { return Ok(Reply::Nil) };
    Ok(Reply::count(if reverse { zset.len() - 1 - rank } else { rank }))
}

fn pop(db: &mut Keyspace, args: &[&[u8]], highest: bool) -> Outcome {
    let (key, count) = match args {
        [key] => (key, 1),
        [key, count] => (key, count_arg(count)?),
        _ => return Err(SYNTAX),
    };
    let popped = db.change(key, |zset: &mut ZSet| {
        let count = count.min(zset.len());
        let popped = (0..count).map_while(|_| zset.pop(highest));
        popped.flat_map(|(score, member)| [Reply::Bulk(member), Reply::Bulk(double(score.0))]).collect()
    })?;
    Ok(Reply::Array(popped.unwrap_or_default()))
}
