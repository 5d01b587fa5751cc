//! What is the model's own: its clock, its copies, its speed.

use ays_redis_model::{Model, Reply};
use std::time::Instant;

fn command(model: &mut Model, command: &str) -> Reply {
    let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    model.command(&args)
}

#[test]
fn keys_expire_when_the_time_is_set_and_not_before() {
    let mut model = Model::new();
    model.set_time(1_000_000);
    command(&mut model, "SET a 1 PX 500");
    command(&mut model, "SET b 1");
    model.set_time(1_499_999);
    assert_eq!(command(&mut model, "PTTL a"), Reply::Int(1));
    assert_eq!(command(&mut model, "DBSIZE"), Reply::Int(2));
    model.set_time(1_500_000);
    assert_eq!(command(&mut model, "DBSIZE"), Reply::Int(1));
    assert_eq!(command(&mut model, "GET a"), Reply::Nil);
    assert_eq!(
        command(&mut model, "TIME"),
        Reply::Array(vec![Reply::Bulk(b"1".to_vec()), Reply::Bulk(b"500000".to_vec())])
    );
}

#[test]
fn a_copy_goes_its_own_way_and_a_restart_forgets_the_scripts() {
    let mut model = Model::new();
    let script = "return redis.call('INCR', KEYS[1])";
    assert_eq!(model.eval(script, &[b"n".to_vec()], &[]), Reply::Int(1));
    let mut copy = model.clone();
    assert_eq!(model.eval(script, &[b"n".to_vec()], &[]), Reply::Int(2));
    let Reply::Bulk(sha) = model.command(&[b"SCRIPT", b"LOAD", script.as_bytes()]) else {
        panic!("no SHA-1")
    };
    assert_eq!(copy.command(&[b"EVALSHA", &sha, b"1", b"n"]), Reply::Int(2));
    copy.script_flush();
    let Reply::Error(error) = copy.command(&[b"EVALSHA", &sha, b"1", b"n"]) else {
        panic!("it was forgotten")
    };
    assert!(error.starts_with("NOSCRIPT "), "{error}");
    assert_eq!(command(&mut copy, "GET n"), Reply::Bulk(b"2".to_vec()));
}

/// The simulation may run its hosts on any thread.
#[test]
fn a_model_moves_between_threads_with_its_scripts() {
    let mut model = Model::new();
    let script = "return redis.call('INCR', 'n')";
    model.eval(script, &[], &[]);
    let reply = std::thread::spawn(move || model.eval(script, &[], &[])).join().unwrap();
    assert_eq!(reply, Reply::Int(2));
}

/// Shows with `--nocapture` what a call of a script takes.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn a_typical_script_is_quick() {
    let script = "
        local had = redis.call('HMGET', KEYS[1], unpack(ARGV, 1, 10))
        for i = 1, 10 do if had[i] and had[i] ~= ARGV[i + 10] then return redis.error_reply('STALE ' .. ARGV[i]) end end
        local set = {}
        for i = 1, 10 do set[#set + 1] = ARGV[i] set[#set + 1] = ARGV[i + 10] end
        redis.call('HSET', KEYS[1], unpack(set))
        return redis.call('RPUSH', KEYS[2], ARGV[1])";
    let mut model = Model::new();
    let keys = [b"{ays:default}:versions".to_vec(), b"{ays:default}:in:1".to_vec()];
    let name = |i: usize| format!("service_with_a_name__c{i}").into_bytes();
    let args: Vec<Vec<u8>> = (0..10).map(name).chain((0..10).map(|i| i.to_string().into_bytes())).collect();
    const CALLS: u32 = 20_000;
    let start = Instant::now();
    for at in 1..=CALLS {
        assert_eq!(model.eval(script, &keys, &args), Reply::Int(at.into()));
    }
    println!(
        "{:?} for each call of a script with HMGET and HSET of 10 fields, and RPUSH",
        start.elapsed() / CALLS
    );
}
