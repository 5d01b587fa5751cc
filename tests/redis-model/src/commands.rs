//! The commands: a table of them, and what is done before each.

mod hashes;
mod keys;
mod lists;
mod server;
mod sets;
mod texts;
mod zset_ranges;
mod zsets;

use crate::keyspace::Keyspace;
use crate::number::int;
use crate::reply::{Fault, NOT_AN_INTEGER, NOT_POSITIVE, Outcome, wrong_arity};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Who wants a command to be executed; Redis words some errors differently for scripts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Client,
    Script,
}

/// Executes a command with the arguments after its name, whose number has been checked.
type Execute = fn(&mut Keyspace, &[&[u8]]) -> Outcome;

/// A command: its name; the number of its arguments with the name, negative if that is the least; what it does.
type Command = (&'static str, i32, Execute);

static COMMANDS: LazyLock<HashMap<&'static [u8], &'static Command>> = LazyLock::new(|| {
    let subjects = [
        hashes::COMMANDS,
        keys::COMMANDS,
        lists::COMMANDS,
        server::COMMANDS,
        sets::COMMANDS,
        texts::COMMANDS,
        zsets::COMMANDS,
        zset_ranges::COMMANDS,
    ];
    subjects.into_iter().flatten().map(|command| (command.0.as_bytes(), command)).collect()
});

/// Executes a command on the data.
pub(crate) fn execute(keyspace: &mut Keyspace, args: &[&[u8]], caller: Caller) -> Outcome {
    // Longer names than this there are none.
    let mut upper = [0; 24];
    let name = args[0];
    let upper = &mut upper[..name.len().min(24)];
    upper.copy_from_slice(&name[..upper.len()]);
    upper.make_ascii_uppercase();
    if caller == Caller::Script && [b"EVAL" as &[u8], b"EVALSHA", b"SCRIPT"].contains(&&*upper) {
        return Err("ERR This Redis command is not allowed from script".into());
    }
    let Some((name, arity, run)) = COMMANDS.get(&*upper) else {
        return Err(
            format!("ERR the model of Redis has no command '{}'", String::from_utf8_lossy(name)).into()
        );
    };
    let given = i32::try_from(args.len()).unwrap_or(i32::MAX);
    if if *arity < 0 { given < -arity } else { given != *arity } {
        return Err(match caller {
            Caller::Client => wrong_arity(name),
            Caller::Script => "ERR Wrong number of args calling Redis command from script".into(),
        });
    }
    run(keyspace, &args[1..])
}

/// Whether an argument is this word, in letters of any case.
fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

fn int_arg(arg: &[u8]) -> Result<i64, Fault> {
    int(arg).ok_or(NOT_AN_INTEGER)
}

/// How many elements are to be popped.
fn count_arg(arg: &[u8]) -> Result<usize, Fault> {
    usize::try_from(int(arg).ok_or(NOT_POSITIVE)?).map_err(|_| NOT_POSITIVE)
}

/// The elements from one index to another, which count from the end if negative: the first, and the one after the last.
fn span(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = i64::try_from(len).expect("a count of things in memory fits");
    let from_start = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    let (start, last) = (from_start(start), if end < 0 { end.saturating_add(len) } else { end.min(len - 1) });
    if start > last || start >= len {
        return 0..0;
    }
    let index = |number: i64| usize::try_from(number).expect("it is neither negative nor above the length");
    index(start)..index(last + 1)
}
