//! The model and a real Redis server reply the same.

mod form;
mod scripts;
mod server;

use ays_redis_model::{Model, Reply};
use form::Random;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use server::Server;
use std::cell::{Cell, RefCell};

/// Scripts around a command that is given as their arguments: its reply, and its error, go through Lua.
const AROUND: &[&str] = &[
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "redis.call('SET', 's1', 'before')\nredis.call('RPUSH', 'wl', 1)\nlocal r = redis.call(unpack(ARGV))\nredis.call('SET', 's2', 'after') return {1, r, 'x'}",
    "local ok, e = pcall(redis.call, unpack(ARGV)) if ok then return e end redis.call('SET', 's2', e) return e",
    "local r = redis.pcall(unpack(ARGV))\nif type(r) == 'table' and r.err then error(r) end return r",
];

/// As those, but it describes the reply as Lua sees it; for replies whose order is the same everywhere.
const DESCRIBE: &str = "local function describe(v) if type(v) == 'table' then local t = {} \
    if v.ok then t[1] = 'ok=' .. v.ok end if v.err then t[1] = 'err=' .. v.err end \
    for i = 1, #v do t[#t + 1] = describe(v[i]) end return '{' .. table.concat(t, ',') .. '}' end \
    return type(v) .. ':' .. tostring(v) end return describe(redis.pcall(unpack(ARGV)))";

/// What is sent, and the command that it comes to.
struct Call {
    sent: Vec<Vec<u8>>,
    command: String,
}

fn call(seed: u64) -> Call {
    let mut random = Random::new(seed);
    let args = form::command(&mut random);
    let command = String::from_utf8(args[0].clone()).unwrap();
    // Redis refuses these in a script with words of its own.
    let is_outside = ["SCRIPT", "EVALSHA"].contains(&command.as_str());
    if is_outside || random.one_in(2) {
        return Call { sent: args, command };
    }
    let is_in_order = order(&command) == Order::Kept && !is_time(&command);
    let script = if is_in_order && random.one_in(3) { DESCRIBE } else { random.of(AROUND) };
    let mut sent = vec![b"EVAL".to_vec(), script.as_bytes().to_vec(), b"0".to_vec()];
    sent.extend(args);
    Call { sent, command }
}

#[derive(PartialEq, Eq)]
enum Order {
    Kept,
    Any,
    AnyOfPairs,
}

/// The order that Redis keeps in a command's reply.
fn order(command: &str) -> Order {
    match command {
        "HKEYS" | "HVALS" | "SMEMBERS" | "SPOP" | "KEYS" | "SCAN" => Order::Any,
        "HGETALL" | "HSCAN" => Order::AnyOfPairs,
        _ => Order::Kept,
    }
}

/// Whether a command replies with a time, which is later on the real server by what the test took.
fn is_time(command: &str) -> bool {
    command.ends_with("TTL") || command.ends_with("EXPIRETIME")
}

/// A reply with its lists in an order that does not depend on the server.
fn in_order(reply: Reply, order: &Order) -> Reply {
    let Reply::Array(items) = reply else { return reply };
    let is_nested = items.iter().any(|item| matches!(item, Reply::Array(_)));
    let step = match order {
        Order::Kept => return Reply::Array(items),
        _ if is_nested => return Reply::Array(items.into_iter().map(|item| in_order(item, order)).collect()),
        Order::Any => 1,
        Order::AnyOfPairs => 2,
    };
    let mut chunks: Vec<Vec<Reply>> = items.chunks(step).map(<[Reply]>::to_vec).collect();
    chunks.sort_by_key(|chunk| format!("{chunk:?}"));
    Reply::Array(chunks.concat())
}

/// Whether two replies are the same, as far as that can be said: times may differ by what the test took, and other
/// versions of Redis have other words for an error.
fn same(model: &Reply, real: &Reply, command: &str, server: &Server) -> bool {
    match (model, real) {
        (Reply::Int(model), Reply::Int(real)) if is_time(command) => {
            let tolerance = if command.starts_with('P') { 60_000 } else { 60 };
            (model - real).abs() <= tolerance && model.signum() == real.signum()
        }
        // A number that a script has is a double, and C says nothing of one that no integer can hold.
        (Reply::Int(i64::MAX), Reply::Int(i64::MIN)) => true,
        (Reply::Array(model), Reply::Array(real)) => {
            model.len() == real.len()
                && model.iter().zip(real).all(|(model, real)| same(model, real, command, server))
        }
        (Reply::Error(model), Reply::Error(real)) if !server.is_as_modelled => {
            model.split(' ').next() == real.split(' ').next()
        }
        _ => model == real,
    }
}

fn show(args: &[Vec<u8>]) -> String {
    args.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

fn show_reply(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => format!("{:?}", bytes.escape_ascii().to_string()),
        Reply::Array(items) => format!("[{}]", items.iter().map(show_reply).collect::<Vec<_>>().join(", ")),
        other => format!("{other:?}"),
    }
}

/// The whole of the data, as commands show it.
fn look() -> Vec<Call> {
    let mut calls = Vec::new();
    for key in form::KEYS {
        for command in ["TYPE", "PEXPIRETIME", "GET", "HGETALL", "SMEMBERS"] {
            calls.push(Call { sent: vec![command.into(), (*key).into()], command: command.to_owned() });
        }
        for (command, options) in
            [("LRANGE", &["0", "-1"] as &[&str]), ("ZRANGE", &["0", "-1", "WITHSCORES"])]
        {
            let mut sent = vec![command.into(), (*key).into()];
            sent.extend(options.iter().map(|option| option.as_bytes().to_vec()));
            calls.push(Call { sent, command: command.to_owned() });
        }
    }
    calls.push(Call { sent: vec!["DBSIZE".into()], command: "DBSIZE".to_owned() });
    calls
}

/// How much was compared.
#[derive(Clone, Copy, Default)]
struct Compared {
    replies: usize,
    errors: usize,
}

/// Executes calls on both from no data, and says where they first differ.
fn differ(server: &mut Server, calls: Vec<Call>) -> Result<Compared, String> {
    let mut model = Model::new();
    let Reply::Array(time) = server.command(&[b"TIME"]) else { panic!("TIME replies a list") };
    let number = |reply: &Reply| match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(text).parse::<u64>().unwrap(),
        other => panic!("TIME replied {other:?}"),
    };
    model.set_time(number(&time[0]) * 1_000_000 + number(&time[1]));
    let mut sent = vec![vec![b"FLUSHALL".to_vec()], vec![b"SCRIPT".to_vec(), b"FLUSH".to_vec()]];
    sent.extend(calls.iter().map(|call| call.sent.clone()));
    let replies = server.commands(&sent).into_iter().skip(2);
    let mut compared = Compared::default();
    for (at, (call, real)) in calls.iter().zip(replies).enumerate() {
        let args: Vec<&[u8]> = call.sent.iter().map(Vec::as_slice).collect();
        let order = order(&call.command);
        let (mine, real) = (in_order(model.command(&args), &order), in_order(real, &order));
        compared.replies += 1;
        compared.errors += usize::from(matches!(real, Reply::Error(_)));
        if !same(&mine, &real, &call.command, server) {
            let before: Vec<String> = calls[..at].iter().map(|call| show(&call.sent)).collect();
            let call = show(&call.sent);
            return Err(format!(
                "after\n  {}\nthe reply to\n  {call}\nis\n  {} of the model, and\n  {} of Redis",
                before.join("\n  "),
                show_reply(&mine),
                show_reply(&real),
            ));
        }
    }
    Ok(compared)
}

#[test]
fn the_model_replies_and_keeps_what_redis_does() {
    let server = RefCell::new(Server::start());
    if !server.borrow().is_as_modelled {
        // It has other words for errors, which scripts can read and store, and refuses other odd numbers.
        println!("random commands are compared with Redis 7.0 alone");
        return;
    }
    let cases =
        std::env::var("AYS_TEST_CASES").map_or(2000, |cases| cases.parse().expect("a number of cases"));
    let total = Cell::new(Compared::default());
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let seeds = prop::collection::vec(any::<u64>().no_shrink(), 1..80);
    let result = runner.run(&seeds, |seeds| {
        let calls = seeds.into_iter().map(call).chain(look()).collect();
        let compared = differ(&mut server.borrow_mut(), calls).map_err(TestCaseError::fail)?;
        let Compared { replies, errors } = total.get();
        total.set(Compared { replies: replies + compared.replies, errors: errors + compared.errors });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (Compared { replies, errors }, kinds) = (total.get(), form::names().len());
    println!("{cases} sequences of commands of {kinds} kinds: {replies} replies, {errors} of them errors");
}

#[test]
fn scripts_compute_and_convert_as_in_redis() {
    let mut server = Server::start();
    let scripts: Vec<&str> = scripts::ANY_VERSION
        .iter()
        .chain(server.is_as_modelled.then_some(scripts::AS_MODELLED).into_iter().flatten())
        .copied()
        .collect();
    let mut differences = Vec::new();
    for script in &scripts {
        let sent =
            ["EVAL", script, "2", "k1", "k2", "7", "\u{e9}\0"].map(|arg| arg.as_bytes().to_vec()).to_vec();
        let call = Call { sent, command: "EVAL".to_owned() };
        differences.extend(differ(&mut server, vec![call].into_iter().chain(look()).collect()).err());
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    println!("{} scripts", scripts.len());
}
