//! Commands on ranges of sorted sets.

use super::{Command, int_arg, is, span};
use crate::keyspace::Keyspace;
use crate::number::{bound, double};
use crate::reply::{Fault, Outcome, Reply, SYNTAX};
use crate::zset::{LexBound, LexRange, Score, ScoreRange, ZSet};
use std::ops::Bound;

pub(super) const COMMANDS: &[Command] = &[
    ("ZRANGE", -4, |db, args| range(db, args, None, None)),
    ("ZREVRANGE", -4, |db, args| range(db, args, Some(By::Rank), Some(true))),
    ("ZRANGEBYSCORE", -4, |db, args| range(db, args, Some(By::Score), Some(false))),
    ("ZREVRANGEBYSCORE", -4, |db, args| range(db, args, Some(By::Score), Some(true))),
    ("ZRANGEBYLEX", -4, |db, args| range(db, args, Some(By::Lex), Some(false))),
    ("ZREVRANGEBYLEX", -4, |db, args| range(db, args, Some(By::Lex), Some(true))),
    ("ZCOUNT", 4, |db, args| count(db, args, By::Score)),
    ("ZLEXCOUNT", 4, |db, args| count(db, args, By::Lex)),
    ("ZREMRANGEBYSCORE", 4, |db, args| remove(db, args, By::Score)),
    ("ZREMRANGEBYLEX", 4, |db, args| remove(db, args, By::Lex)),
    ("ZREMRANGEBYRANK", 4, |db, args| remove(db, args, By::Rank)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range that was parsed.
enum Limits {
    Rank(i64, i64),
    Score(ScoreRange),
    Lex(LexRange),
}

impl Limits {
    fn parse(by: By, min: &[u8], max: &[u8]) -> Result<Self, Fault> {
        Ok(match by {
            By::Rank => Self::Rank(int_arg(min)?, int_arg(max)?),
            By::Score => Self::Score(ScoreRange { min: score_bound(min)?, max: score_bound(max)? }),
            By::Lex => Self::Lex(LexRange { min: lex_bound(min)?, max: lex_bound(max)? }),
        })
    }

    /// What is in the range, in order or in reverse; then a rank counts from the highest.
    fn of<'a>(&self, zset: &'a ZSet, reverse: bool) -> Box<dyn Iterator<Item = &'a (Score, Vec<u8>)> + 'a> {
        fn directed<'a, T>(
            found: impl DoubleEndedIterator<Item = T> + 'a,
            reverse: bool,
        ) -> Box<dyn Iterator<Item = T> + 'a> {
            if reverse { Box::new(found.rev()) } else { Box::new(found) }
        }
        match self {
            Self::Rank(start, end) => {
                let span = span(*start, *end, zset.len());
                Box::new(directed(zset.iter(), reverse).skip(span.start).take(span.len()))
            }
            Self::Score(range) => directed(zset.by_score(range), reverse),
            Self::Lex(range) => directed(zset.by_member(range), reverse),
        }
    }
}

fn score_bound(text: &[u8]) -> Result<Bound<f64>, Fault> {
    let read = |text| bound(text).ok_or("ERR min or max is not a float");
    Ok(match text {
        [b'(', text @ ..] => Bound::Excluded(read(text)?),
        _ => Bound::Included(read(text)?),
    })
}

fn lex_bound(text: &[u8]) -> Result<LexBound, Fault> {
    match text {
        b"-" => Ok(LexBound::Lowest),
        b"+" => Ok(LexBound::Highest),
        [b'(', member @ ..] => Ok(LexBound::Member { member: member.to_vec(), exclusive: true }),
        [b'[', member @ ..] => Ok(LexBound::Member { member: member.to_vec(), exclusive: false }),
        _ => Err("ERR min or max not valid string range item".into()),
    }
}

fn range(db: &mut Keyspace, args: &[&[u8]], mut by: Option<By>, mut reverse: Option<bool>) -> Outcome {
    let (key, mut min, mut max) = (args[0], args[1], args[2]);
    let (mut with_scores, mut limit) = (false, (0, -1));
    let mut options = args[3..].iter();
    while let Some(option) = options.next() {
        if is(option, "WITHSCORES") {
            with_scores = true;
        } else if is(option, "LIMIT") && options.len() >= 2 {
            let mut number = || int_arg(options.next().expect("there are two more"));
            limit = (number()?, number()?);
        } else if is(option, "REV") && reverse.is_none() {
            reverse = Some(true);
        } else if is(option, "BYLEX") && by.is_none() {
            by = Some(By::Lex);
        } else if is(option, "BYSCORE") && by.is_none() {
            by = Some(By::Score);
        } else {
            return Err(SYNTAX);
        }
    }
    let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
    if limit.1 != -1 && by == By::Rank {
        let what = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
        return Err(what.into());
    }
    if with_scores && by == By::Lex {
        return Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX".into());
    }
    if reverse && by != By::Rank {
        std::mem::swap(&mut min, &mut max);
    }
    let limits = Limits::parse(by, min, max)?;
    let Some(zset) = db.get::<ZSet>(key)? else { return Ok(Reply::Array(Vec::new())) };
    // A negative offset skips everything, a negative count means all.
    let limit = if by == By::Rank { (0, -1) } else { limit };
    let skipped = usize::try_from(limit.0).unwrap_or(usize::MAX);
    let most = usize::try_from(limit.1).unwrap_or(usize::MAX);
    let mut replies = Vec::new();
    for (score, member) in limits.of(zset, reverse).skip(skipped).take(most) {
        replies.push(Reply::bulk(member));
        if with_scores {
            replies.push(Reply::Bulk(double(score.0)));
        }
    }
    Ok(Reply::Array(replies))
}

fn count(db: &mut Keyspace, args: &[&[u8]], by: By) -> Outcome {
    let limits = Limits::parse(by, args[1], args[2])?;
    Ok(Reply::count(db.get::<ZSet>(args[0])?.map_or(0, |zset| limits.of(zset, false).count())))
}

fn remove(db: &mut Keyspace, args: &[&[u8]], by: By) -> Outcome {
    let limits = Limits::parse(by, args[1], args[2])?;
    let removed = db.change(args[0], |zset: &mut ZSet| {
        let found: Vec<Vec<u8>> = limits.of(zset, false).map(|(_, member)| member.clone()).collect();
        found.iter().filter(|member| zset.remove(member)).count()
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}
