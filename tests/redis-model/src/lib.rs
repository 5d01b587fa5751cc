//! A deterministic model of a Redis server, which runs real Lua scripts: a simulation of many hosts that share one
//! Redis asks it instead of a server.
//!
//! [`Model`] holds the data; [`Model::command`] executes a command, [`Model::eval`] a script. Both return a [`Reply`].
//! The model has no clock: keys expire, and `TIME` advances, by [`Model::set_time`] alone. It is the reference for
//! nothing: `tests/differential` compares it with a real server. Numbers and errors are written as Redis 7.0 writes them.
//!
//! What is not as in Redis: there is one database, and no configuration, replication, blocking or transactions. A script
//! has no `cjson`, `cmsgpack`, `struct`, `os`, `coroutine`, `load` and `loadstring`. Where Redis leaves an order or a
//! choice open (the fields of a hash, the members of a set, `SPOP`), the model takes the smallest bytes first; the `SCAN`s
//! return everything at once; `math.random` begins anew with each script; a number from a script that no 64-bit integer
//! can hold becomes the nearest one that can. Scores in hexadecimal are refused.

mod commands;
mod glob;
mod keyspace;
mod number;
mod reply;
mod script;
mod zset;

pub use reply::Reply;

use keyspace::Keyspace;
use reply::{NOT_AN_INTEGER, Outcome, wrong_arity};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A Redis server: its data, and the scripts that it knows. A clone is a copy of all of it, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Model {
    keyspace: Keyspace,
    /// The sources of the scripts that `EVALSHA` finds, under their SHA-1.
    scripts: BTreeMap<String, Arc<str>>,
}

impl Model {
    /// A server without data, at the beginning of 1970.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what time it is, in microseconds since 1970: what `TIME` says, and by which keys expire.
    pub fn set_time(&mut self, micros: u64) {
        self.keyspace.micros = micros;
    }

    /// Executes a command, its name first.
    ///
    /// A command that Redis has and the model has not is an error that says so.
    pub fn command(&mut self, args: &[&[u8]]) -> Reply {
        let Some((name, rest)) = args.split_first() else {
            return Reply::Error("ERR a command has a name at least".to_owned());
        };
        let outcome = match name.to_ascii_uppercase().as_slice() {
            b"EVAL" => self.eval_command("eval", rest),
            b"EVALSHA" => self.eval_command("evalsha", rest),
            b"SCRIPT" => self.script_command(rest),
            _ => commands::execute(&mut self.keyspace, args, commands::Caller::Client),
        };
        outcome.unwrap_or_else(|fault| Reply::Error(fault.into_owned()))
    }

    /// Executes a script, as `EVAL` does; `EVALSHA` knows it from then on.
    ///
    /// Each thread compiles a source once.
    pub fn eval(&mut self, source: &str, keys: &[Vec<u8>], args: &[Vec<u8>]) -> Reply {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        self.eval_source(source, &keys, &args).unwrap_or_else(|fault| Reply::Error(fault.into_owned()))
    }

    /// Forgets all scripts, as a restart and `SCRIPT FLUSH` do.
    pub fn script_flush(&mut self) {
        self.scripts.clear();
    }

    fn eval_source(&mut self, source: &str, keys: &[&[u8]], args: &[&[u8]]) -> Outcome {
        let compiled = script::compile(source)?;
        if !self.scripts.contains_key(compiled.sha()) {
            self.scripts.insert(compiled.sha().to_owned(), source.into());
        }
        Ok(script::run(&compiled, &mut self.keyspace, keys, args))
    }

    fn eval_command(&mut self, name: &str, args: &[&[u8]]) -> Outcome {
        let [script, count, rest @ ..] = args else { return Err(wrong_arity(name)) };
        let count = number::int(count).ok_or(NOT_AN_INTEGER)?;
        if i64::try_from(rest.len()).is_ok_and(|most| count > most) {
            return Err("ERR Number of keys can't be greater than number of args".into());
        }
        let Ok(count) = usize::try_from(count) else {
            return Err("ERR Number of keys can't be negative".into());
        };
        let (keys, args) = rest.split_at(count);
        let script = String::from_utf8_lossy(script);
        if name == "eval" {
            return self.eval_source(&script, keys, args);
        }
        let known = self.scripts.get(&script.to_ascii_lowercase());
        let source = known.ok_or("NOSCRIPT No matching script. Please use EVAL.")?;
        let compiled = script::compile(source)?;
        Ok(script::run(&compiled, &mut self.keyspace, keys, args))
    }

    fn script_command(&mut self, args: &[&[u8]]) -> Outcome {
        let upper: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_ascii_uppercase()).collect();
        match upper.iter().map(Vec::as_slice).collect::<Vec<_>>().as_slice() {
            [] => Err(wrong_arity("script")),
            [b"LOAD", _] => {
                let source = String::from_utf8_lossy(args[1]);
                let compiled = script::compile(&source)?;
                self.scripts.insert(compiled.sha().to_owned(), source.as_ref().into());
                Ok(Reply::bulk(compiled.sha().as_bytes()))
            }
            [b"EXISTS", _, ..] => {
                let known = |sha: &&[u8]| {
                    self.scripts.contains_key(&String::from_utf8_lossy(sha).to_ascii_lowercase())
                };
                Ok(Reply::Array(args[1..].iter().map(|sha| Reply::Int(known(sha).into())).collect()))
            }
            [b"FLUSH"] | [b"FLUSH", b"SYNC" | b"ASYNC"] => {
                self.script_flush();
                Ok(Reply::ok())
            }
            [b"FLUSH", ..] => Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".into()),
            [b"LOAD", ..] => Err(wrong_arity("script|load")),
            [b"EXISTS"] => Err(wrong_arity("script|exists")),
            [_, ..] => {
                let name = String::from_utf8_lossy(args[0]);
                Err(format!("ERR unknown subcommand '{name}'. Try SCRIPT HELP.").into())
            }
        }
    }
}
