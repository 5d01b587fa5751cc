//! Lua scripts: the sandbox that Redis runs them in, and the conversions between its replies and Lua's values.
//!
//! Scripts keep nothing between calls, so each thread has one Lua state for all models, in which it compiles each script
//! once.

use crate::commands::{Caller, execute};
use crate::keyspace::Keyspace;
use crate::number::write_double;
use crate::reply::{Fault, Reply};
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// The name under which a script appears in its errors.
const CHUNK: &str = "@user_script";

/// How many sources are found by their address before those are forgotten; the addresses of sources that are made anew
/// for each call never come again.
const ADDRESSES: usize = 1024;

/// A script that this thread has compiled.
pub(crate) struct Script {
    source: Box<str>,
    sha: String,
    function: Function,
}

impl Script {
    /// The SHA-1 of the source, in hexadecimal digits.
    pub(crate) fn sha(&self) -> &str {
        &self.sha
    }
}

thread_local! {
    static RUNTIME: Runtime = Runtime::new().expect("a Lua state is made as long as there is memory");
}

struct Runtime {
    lua: Lua,
    /// What scripts see as their globals.
    globals: Table,
    /// Where the globals are, behind the guard.
    held: Table,
    /// Calls a script, and turns what it throws into a table.
    guard: Function,
    by_sha: RefCell<HashMap<String, Rc<Script>>>,
    /// By the address and length of a source, since to hash a long script takes longer than to run it.
    by_address: RefCell<HashMap<(usize, usize), Rc<Script>>>,
    calls: Rc<Calls>,
}

/// What `redis.call` needs.
#[derive(Default)]
struct Calls {
    /// The data that the script works on, for as long as it runs.
    keyspace: RefCell<Keyspace>,
    /// The bytes of a call's arguments, and where each is.
    arguments: RefCell<(Vec<u8>, Vec<Range<usize>>)>,
    /// The state of the generator behind `math.random`, which begins anew with each script.
    random: Cell<u64>,
}

/// Compiles a script, or finds what this thread compiled before.
pub(crate) fn compile(source: &str) -> Result<Rc<Script>, Fault> {
    RUNTIME.with(|runtime| runtime.compile(source))
}

/// Runs a script on the data.
pub(crate) fn run(script: &Script, keyspace: &mut Keyspace, keys: &[&[u8]], args: &[&[u8]]) -> Reply {
    RUNTIME.with(|runtime| {
        runtime.calls.keyspace.swap(&RefCell::new(std::mem::take(keyspace)));
        let reply = runtime.run(script, keys, args);
        *keyspace = runtime.calls.keyspace.take();
        reply.unwrap_or_else(|error| Reply::Error(format!("ERR {error}")))
    })
}

impl Runtime {
    fn new() -> mlua::Result<Self> {
        let lua = Lua::new_with(StdLib::STRING | StdLib::TABLE | StdLib::MATH, LuaOptions::new())?;
        let calls = Rc::<Calls>::default();
        let native = lua.create_table()?;
        let (of_call, of_pcall) = (calls.clone(), calls.clone());
        let call = move |lua: &Lua, args| match of_call.execute(&args) {
            Reply::Error(error) => Err(Thrown(error).into()),
            reply => value_of(lua, &reply),
        };
        native.set("call", lua.create_function(call)?)?;
        let pcall = move |lua: &Lua, args| value_of(lua, &of_pcall.execute(&args));
        native.set("pcall", lua.create_function(pcall)?)?;
        native.set("text", lua.create_function(|_, thrown| Ok(text_of(&thrown)))?)?;
        native.set("sha1hex", lua.create_function(|_, args| sha1hex(&args))?)?;
        native.set("line", lua.create_function(|lua, ()| Ok(line_of_script(lua)))?)?;
        let of_random = calls.clone();
        native.set("random", lua.create_function(move |_, ()| Ok(of_random.random()))?)?;
        let of_seed = calls.clone();
        native.set(
            "randomseed",
            lua.create_function(move |_, seed: f64| {
                of_seed.seed(seed as i64 as u32);
                Ok(())
            })?,
        )?;
        native.set("to_bit", lua.create_function(|_, value: f64| Ok(to_bit(value)))?)?;
        native.set(
            "bits",
            lua.create_function(|_, (op, a, b): (LuaString, f64, f64)| {
                Ok(bits(&op.as_bytes(), to_bit(a), to_bit(b)))
            })?,
        )?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("@sandbox");
        let (globals, held, guard) = sandbox.call((native, lua.globals()))?;
        let (by_sha, by_address) = Default::default();
        Ok(Self { lua, globals, held, guard, by_sha, by_address, calls })
    }

    fn compile(&self, source: &str) -> Result<Rc<Script>, Fault> {
        let address = (source.as_ptr().addr(), source.len());
        if let Some(script) =
            self.by_address.borrow().get(&address).filter(|script| *script.source == *source)
        {
            return Ok(script.clone());
        }
        let sha = sha1_smol::Sha1::from(source).digest().to_string();
        let known = self.by_sha.borrow().get(&sha).cloned();
        let script = match known {
            Some(script) => script,
            None => {
                let function = self.load(without_flags(source)?.as_ref()).map_err(|error| {
                    let message = match error {
                        mlua::Error::SyntaxError { message, .. } => message,
                        other => other.to_string(),
                    };
                    format!("ERR Error compiling script (new function): {message}")
                })?;
                let script = Rc::new(Script { source: source.into(), sha: sha.clone(), function });
                self.by_sha.borrow_mut().insert(sha, script.clone());
                script
            }
        };
        let mut by_address = self.by_address.borrow_mut();
        if by_address.len() >= ADDRESSES {
            by_address.clear();
        }
        by_address.insert(address, script.clone());
        Ok(script)
    }

    fn load(&self, source: &str) -> mlua::Result<Function> {
        let chunk = self.lua.load(source).set_name(CHUNK).set_mode(ChunkMode::Text);
        chunk.set_environment(self.globals.clone()).into_function()
    }

    fn run(&self, script: &Script, keys: &[&[u8]], args: &[&[u8]]) -> mlua::Result<Reply> {
        self.calls.seed(0);
        self.held.raw_set("KEYS", self.strings(keys)?)?;
        self.held.raw_set("ARGV", self.strings(args)?)?;
        let (done, value): (bool, Value) = self.guard.call(script.function.clone())?;
        if done {
            return reply_of(&value);
        }
        let Value::Table(thrown) = value else {
            return Ok(Reply::Error(format!("ERR Error running script {}", script.sha)));
        };
        let mut message = match thrown.raw_get("err")? {
            Value::String(message) => message.to_string_lossy(),
            _ => "ERR unknown error".to_owned(),
        };
        if let Some(line) = thrown.raw_get::<Option<u32>>("line")? {
            message.push_str(&format!(" script: {}, on {CHUNK}:{line}.", script.sha));
        }
        Ok(Reply::Error(message))
    }

    fn strings(&self, all: &[&[u8]]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(all.len(), 0)?;
        for bytes in all {
            table.raw_push(self.lua.create_string(bytes)?)?;
        }
        Ok(table)
    }
}

impl Calls {
    fn execute(&self, args: &MultiValue) -> Reply {
        if args.is_empty() {
            return Reply::Error(
                "ERR Please specify at least one argument for this redis lib call".to_owned(),
            );
        }
        let mut arguments = self.arguments.borrow_mut();
        let (bytes, ranges) = &mut *arguments;
        bytes.clear();
        ranges.clear();
        for arg in args {
            let start = bytes.len();
            match arg {
                Value::String(text) => bytes.extend_from_slice(&text.as_bytes()),
                Value::Integer(number) => write_double(bytes, *number as f64),
                Value::Number(number) => write_double(bytes, *number),
                _ => {
                    let what = "ERR Lua redis lib command arguments must be strings or integers";
                    return Reply::Error(what.to_owned());
                }
            }
            ranges.push(start..bytes.len());
        }
        let args: Vec<&[u8]> = ranges.iter().map(|range| &bytes[range.clone()]).collect();
        execute(&mut self.keyspace.borrow_mut(), &args, Caller::Script)
            .unwrap_or_else(|fault| Reply::Error(fault.into_owned()))
    }

    fn seed(&self, seed: u32) {
        self.random.set(u64::from(seed) << 16 | 0x330E);
    }

    /// A number from 0 to 1, of the same sequence as Redis' own: `drand48`'s congruences, of which it uses 31 bits.
    fn random(&self) -> f64 {
        let next = self.random.get().wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & 0xFFFF_FFFF_FFFF;
        self.random.set(next);
        let most = u64::from(i32::MAX.unsigned_abs());
        ((next >> 17) % most) as f64 / most as f64
    }
}

/// An error of `redis.call` on its way through Lua.
#[derive(Debug)]
struct Thrown(String);

impl std::fmt::Display for Thrown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Thrown {}

impl From<Thrown> for mlua::Error {
    fn from(thrown: Thrown) -> Self {
        Self::external(thrown)
    }
}

/// What a function of the model threw; nothing for what Lua or a script threw.
fn text_of(thrown: &Value) -> Option<String> {
    let Value::Error(error) = thrown else { return None };
    let ours = error.chain().find_map(|cause| cause.downcast_ref::<Thrown>());
    Some(ours.map_or_else(|| format!("ERR {error}"), |thrown| thrown.0.clone()))
}

fn sha1hex(args: &MultiValue) -> mlua::Result<String> {
    let text = match args.iter().collect::<Vec<_>>()[..] {
        [Value::String(text)] => text.as_bytes().to_vec(),
        [Value::Integer(number)] => number.to_string().into_bytes(),
        [_] => Vec::new(),
        _ => return Err(Thrown("ERR wrong number of arguments".to_owned()).into()),
    };
    Ok(sha1_smol::Sha1::from(text).digest().to_string())
}

/// A script without the line of flags that may come first and is not Lua. An empty line stays, for the numbers of the
/// others.
fn without_flags(source: &str) -> Result<&str, Fault> {
    if !source.starts_with("#!") {
        return Ok(source);
    }
    let Some(end) = source.find('\n') else { return Err("ERR Invalid script shebang".into()) };
    let (line, body) = source.split_at(end);
    let mut words = line.split(' ');
    let engine = words.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(format!("ERR Unexpected engine in script shebang: {engine}").into());
    }
    match words.find(|word| !word.starts_with("flags=")) {
        Some(word) => Err(format!("ERR Unknown lua shebang option: {word}").into()),
        None => Ok(body),
    }
}

/// The number of the line of the script that is being executed, if any is.
fn line_of_script(lua: &Lua) -> Option<usize> {
    for level in 0.. {
        let line = lua.inspect_stack(level, |frame| {
            let is_script = frame.source().source.as_deref() == Some(CHUNK);
            is_script.then(|| frame.current_line()).flatten()
        })?;
        if line.is_some() {
            return line;
        }
    }
    None
}

fn value_of(lua: &Lua, reply: &Reply) -> mlua::Result<Value> {
    let single = |field: &str, text: &str| {
        let table = lua.create_table_with_capacity(0, 1)?;
        table.raw_set(field, text)?;
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Nil => Ok(Value::Boolean(false)),
        Reply::Int(number) => Ok(Value::Number(*number as f64)),
        Reply::Status(status) => single("ok", status),
        Reply::Error(error) => single("err", error),
        Reply::Bulk(bytes) => Ok(Value::String(lua.create_string(bytes)?)),
        Reply::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for item in items {
                table.raw_push(value_of(lua, item)?)?;
            }
            Ok(Value::Table(table))
        }
    }
}

fn reply_of(value: &Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::String(text) => Reply::bulk(&text.as_bytes()),
        Value::Integer(number) => Reply::Int(*number),
        // Truncated, as C does.
        Value::Number(number) => Reply::Int(*number as i64),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(table) => {
            if let Value::String(error) = table.raw_get("err")? {
                return Ok(Reply::Error(error.to_string_lossy()));
            }
            if let Value::String(status) = table.raw_get("ok")? {
                return Ok(Reply::Status(status.to_string_lossy().replace(['\r', '\n'], " ")));
            }
            let mut items = Vec::new();
            for index in 1.. {
                let item: Value = table.raw_get(index)?;
                if item.is_nil() {
                    break;
                }
                items.push(reply_of(&item)?);
            }
            Reply::Array(items)
        }
        _ => Reply::Nil,
    })
}

/// A number as `bit` sees it: its lowest 32 bits.
fn to_bit(value: f64) -> i32 {
    value.round_ties_even() as i64 as i32
}

/// An operation of `bit` on two numbers.
fn bits(op: &[u8], a: i32, b: i32) -> i32 {
    let by = b.cast_unsigned() & 31;
    match op {
        b"band" => a & b,
        b"bor" => a | b,
        b"bxor" => a ^ b,
        b"lshift" => a << by,
        b"rshift" => (a.cast_unsigned() >> by).cast_signed(),
        b"arshift" => a >> by,
        b"rol" => a.rotate_left(by),
        b"ror" => a.rotate_right(by),
        _ => a.swap_bytes(),
    }
}
