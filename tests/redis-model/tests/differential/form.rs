//! Random commands, made from forms.
//!
//! A form is a command as one writes it, with `<x>` for a random argument of a kind, `[…]` for what may be left out, and
//! `{…}` for what comes one to three times.

/// A random sequence that depends on its seed alone.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        // splitmix64, https://prng.di.unimi.it/splitmix64.c
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// The keys of each type; sometimes one of another type is taken. `one` holds one member at most, all scores of `x1` are
/// the same, and `wl` is a list if anything, since Redis says nothing about the order or choice otherwise.
pub(crate) const KEYS: &[&str] =
    &["s1", "s2", "h1", "h2", "l1", "l2", "e1", "e2", "z1", "z2", "one", "x1", "wl", "missing"];
const MIXED: &[&str] = &["s1", "s2", "h1", "h2", "l1", "l2", "e1", "e2", "z1", "z2"];

const VALUES: &[&[u8]] = &[
    b"",
    b"a",
    b"b",
    b"10",
    b"-3",
    b"0",
    b"007",
    b"+1",
    b" 1",
    b"3.5",
    b"9223372036854775807",
    b"\x00\xff\r\n",
    b"hello world",
];
const FIELDS: &[&[u8]] = &[b"f1", b"f2", b"f3", b"f4", b"", b"\xff"];
const MEMBERS: &[&[u8]] = &[b"a", b"b", b"c", b"d", b"aa", b"", b"\xfe", b"17", b"-5", b"B"];
const INTS: &[&[u8]] = &[
    b"0",
    b"1",
    b"2",
    b"3",
    b"5",
    b"-1",
    b"-2",
    b"-3",
    b"-5",
    b"100",
    b"-100",
    b"x",
    b"1.5",
    b"",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"01",
    b"-0",
];
const SCORES: &[&[u8]] = &[
    b"0", b"1", b"2", b"3", b"-1", b"1.5", b"-2.25", b"inf", b"-inf", b"+inf", b"1e3", b"100", b"nan", b"x",
    b"", b" 1", b"1e400", b".5", b"5.",
];
const BOUNDS: &[&[u8]] = &[
    b"0", b"1", b"2", b"3", b"-1", b"1.5", b"(1", b"(2", b"(0", b"-inf", b"+inf", b"inf", b"(inf", b"(-inf",
    b"x", b"(", b"", b"(x", b" 1", b"[1",
];
const LEX: &[&[u8]] = &[
    b"-", b"+", b"-", b"+", b"[a", b"(a", b"[b", b"(c", b"[", b"(", b"[aa", b"x", b"", b"[\xff", b"-a", b"[",
];
const GLOBS: &[&[u8]] = &[
    b"*", b"?1", b"s*", b"[a-h]1", b"[^s]?", b"*1", b"\\s1", b"x", b"", b"[z1", b"f[1-2]", b"*s*1*", b"f?",
    b"[\\s]1", b"[", b"[^", b"\\", b"[2-1]*", b"[h-]1", b"*\\",
];
/// Times that are far from now, so that a test that takes a while sees no key expire.
const SECONDS: &[&[u8]] =
    &[b"100000", b"5000000", b"0", b"-1", b"x", b"9223372036854775807", b"-9223372036854775808"];
const ABSOLUTE: &[&[u8]] =
    &[b"4102444800000", b"4102444800001", b"4202444800000", b"1000", b"0", b"-7", b"x"];
const FUTURE: &[&[u8]] = &[b"4102444800000", b"4102444800001", b"x", b"0", b"-1"];

const FORMS: &[&str] = &[
    "GET <s>",
    "GET <s>",
    "SET <s> <v>",
    "SET <s> <v>",
    "SET <s> <v> [NX] [GET]",
    "SET <s> <v> [XX] [GET]",
    "SET <s> <v> [nx] [xx] [get] [KEEPTTL] [EX <t>] [PX <t>]",
    "SET <s> <v> [GET] [KEEPTTL] [EXAT <f>] [PXAT <f>]",
    "SET <s> <v> [EX] [bogus]",
    "SETNX <s> <v>",
    "MGET {<k>}",
    "MSET {<s> <v>}",
    "MSET s1 <v> s2",
    "GETDEL <s>",
    "INCR <s>",
    "DECR <s>",
    "INCRBY <s> <i>",
    "DECRBY <s> <i>",
    "STRLEN <s>",
    "APPEND <s> <v>",
    "GETRANGE <s> <i> <i>",
    "SETRANGE <s> <i> <v>",
    "DEL {<k>}",
    "UNLINK <k>",
    "EXISTS {<k>}",
    "TYPE <k>",
    "RENAME l1 l2",
    "RENAME s1 h2",
    "RENAME missing s1",
    "RENAME e1 e1",
    "EXPIRE <k> <t> [NX]",
    "EXPIRE <k> <t> [XX]",
    "PEXPIRE <k> <t>",
    "PEXPIREAT <k> <u> [NX] [XX] [GT] [LT]",
    "PEXPIREAT <k> <u>",
    "PEXPIREAT <k> <u> [GT]",
    "PEXPIREAT <k> <u> [lt]",
    "EXPIREAT <k> <t>",
    "EXPIRE <k> <t> bogus",
    "TTL <k>",
    "PTTL <k>",
    "PEXPIRETIME <k>",
    "EXPIRETIME <k>",
    "PERSIST <k>",
    "HSET <h> {<g> <v>}",
    "HSET <h> {<g> <v>}",
    "HSET <h> <g> <v> <g>",
    "HMSET <h> {<g> <v>}",
    "HSETNX <h> <g> <v>",
    "HGET <h> <g>",
    "HMGET <h> {<g>}",
    "HGETALL <h>",
    "HKEYS <h>",
    "HVALS <h>",
    "HDEL <h> {<g>}",
    "HEXISTS <h> <g>",
    "HLEN <h>",
    "HSTRLEN <h> <g>",
    "HINCRBY <h> <g> <i>",
    "HSCAN <h> 0 [MATCH <p>] [COUNT 100]",
    "HSCAN <h> 5 [COUNT <i>]",
    "LPUSH <l> {<m>}",
    "RPUSH <l> {<m>}",
    "RPUSH <l> {<m>}",
    "RPUSH wl a",
    "LPOP <l> [<i>]",
    "RPOP <l> [<i>]",
    "LPOP <l> 2",
    "RPOP <l>",
    "LLEN <l>",
    "LRANGE <l> <i> <i>",
    "LRANGE <l> 0 -1",
    "LINDEX <l> <i>",
    "LSET <l> <i> <m>",
    "LTRIM <l> <i> <i>",
    "LREM <l> <i> <m>",
    "LMOVE <l> <l> LEFT RIGHT",
    "LMOVE <l> <l> right left",
    "LMOVE <l> <l> LEFT LEFT",
    "LMOVE <l> <l> RIGHT RIGHT",
    "LMOVE <l> <l> UP LEFT",
    "RPOPLPUSH <l> <l>",
    "LINSERT <l> BEFORE <m> <m>",
    "LINSERT <l> after <m> <m>",
    "LINSERT <l> NEAR <m> <m>",
    "SADD <e> {<m>}",
    "SADD <e> {<m>}",
    "SADD one a",
    "SREM <e> {<m>}",
    "SREM one a",
    "SMEMBERS <e>",
    "SISMEMBER <e> <m>",
    "SMISMEMBER <e> {<m>}",
    "SCARD <e>",
    "SPOP one",
    "SPOP wl",
    "SPOP <e> 100",
    "SPOP <e> 0",
    "SPOP <e> x",
    "SPOP <e> -1",
    "ZADD <z> {<n> <m>}",
    "ZADD <z> {<n> <m>}",
    "ZADD <z> [NX] [CH] {<n> <m>}",
    "ZADD <z> [XX] [GT] [LT] [CH] {<n> <m>}",
    "ZADD <z> [CH] [GT] {<n> <m>}",
    "ZADD <z> [NX] [XX] [GT] [LT] [CH] [INCR] <n> <m>",
    "ZADD <z> INCR {<n> <m>}",
    "ZADD <z> [XX] <n>",
    "ZADD x1 0 <m>",
    "ZADD x1 0 <m> 0 <m>",
    "ZADD x1 0 <m> 0 <m> 0 <m>",
    "ZREM <z> {<m>}",
    "ZREM x1 <m>",
    "ZSCORE <z> <m>",
    "ZMSCORE <z> {<m>}",
    "ZINCRBY <z> <n> <m>",
    "ZCARD <z>",
    "ZCOUNT <z> <b> <b>",
    "ZRANK <z> <m>",
    "ZREVRANK <z> <m>",
    "ZRANGE <z> <i> <i> [WITHSCORES] [REV]",
    "ZRANGE <z> <b> <b> BYSCORE [REV] [WITHSCORES] [LIMIT <i> <i>]",
    "ZRANGE <z> -inf +inf BYSCORE [LIMIT 1 2] [WITHSCORES]",
    "ZRANGE <z> <i> <i> LIMIT <i> <i>",
    "ZRANGE <x> <q> <q> BYLEX [REV] [LIMIT <i> <i>] [WITHSCORES]",
    "ZRANGE <x> - + BYLEX",
    "ZRANGE <x> <q> <q> BYLEX BYSCORE",
    "ZRANGE <z> 0 -1 LIMIT 1",
    "ZRANGEBYSCORE <z> <b> <b> [WITHSCORES] [LIMIT <i> <i>]",
    "ZREVRANGE <z> <i> <i> [withscores]",
    "ZREVRANGE <z> 0 -1 REV",
    "ZREVRANGEBYSCORE <z> <b> <b> [WITHSCORES] [limit <i> <i>]",
    "ZRANGEBYLEX <x> <q> <q> [LIMIT <i> <i>]",
    "ZREVRANGEBYLEX <x> <q> <q> [LIMIT <i> <i>]",
    "ZLEXCOUNT <x> <q> <q>",
    "ZREMRANGEBYSCORE <z> <b> <b>",
    "ZREMRANGEBYLEX <x> <q> <q>",
    "ZREMRANGEBYRANK <z> <i> <i>",
    "ZPOPMIN <z> [<i>]",
    "ZPOPMAX <z> [<i>]",
    "ZPOPMIN <z>",
    "ZPOPMAX <z> 2",
    "PING",
    "PING <v>",
    "ECHO <v>",
    "DBSIZE",
    "KEYS <p>",
    "SCAN 0 COUNT 100 [MATCH <p>] [TYPE zset] [TYPE String]",
    "SCAN x",
    "SCAN 0 COUNT 100 bogus",
    "PUBLISH channel <v>",
    "FLUSHALL SOON",
    "SCRIPT EXISTS 0000000000000000000000000000000000000000",
    "SCRIPT FLUSH LATER",
    "EVALSHA 0000000000000000000000000000000000000000 0",
];

/// A random command.
pub(crate) fn command(random: &mut Random) -> Vec<Vec<u8>> {
    // Rarely, since what comes after begins with little data.
    let form = if random.one_in(300) { "FLUSHALL" } else { random.of(FORMS) };
    let mut args = Vec::new();
    expand(form, random, &mut args);
    // These keep to what has no choice.
    let is_careful = form.starts_with("SPOP") || form.contains(" one") || form.contains(" x1");
    if random.one_in(40) && !is_careful {
        if random.one_in(2) && args.len() > 1 {
            args.pop();
        } else {
            args.push(random.of(INTS).to_vec());
        }
    }
    args
}

/// All commands that may be made.
pub(crate) fn names() -> std::collections::BTreeSet<&'static str> {
    FORMS.iter().filter_map(|form| form.split(' ').next()).chain(["FLUSHALL"]).collect()
}

fn expand(form: &str, random: &mut Random, args: &mut Vec<Vec<u8>>) {
    let mut rest = form.trim();
    while let Some(first) = rest.chars().next() {
        let (part, after) = match first {
            '[' => rest[1..].split_once(']').expect("a closed option"),
            '{' => rest[1..].split_once('}').expect("a closed repetition"),
            _ => rest.split_once(' ').unwrap_or((rest, "")),
        };
        match first {
            '[' if random.one_in(3) => expand(part, random, args),
            '[' => {}
            '{' => (0..=random.below(3)).for_each(|_| expand(part, random, args)),
            '<' => args.push(argument(part, random)),
            _ => args.push(part.as_bytes().to_vec()),
        }
        rest = after.trim_start();
    }
}

fn argument(kind: &str, random: &mut Random) -> Vec<u8> {
    let mut key = |all: &[&'static str]| {
        let key = if random.one_in(12) { random.of(MIXED) } else { random.of(all) };
        key.as_bytes()
    };
    match kind {
        "<s>" => key(&["s1", "s2"]),
        "<h>" => key(&["h1", "h2"]),
        "<l>" => key(&["l1", "l2"]),
        "<e>" => key(&["e1", "e2"]),
        "<z>" => key(&["z1", "z2"]),
        "<x>" => random.of(&["x1", "x1", "x1", "x1", "x1", "x1", "wl"]).as_bytes(),
        "<k>" => random.of(KEYS).as_bytes(),
        "<v>" => random.of(VALUES),
        "<g>" => random.of(FIELDS),
        "<m>" => random.of(MEMBERS),
        // Mostly small ones that mean something.
        "<i>" if random.one_in(2) => random.of(&INTS[..9]),
        "<i>" => random.of(INTS),
        "<n>" if random.one_in(2) => random.of(&SCORES[..7]),
        "<n>" => random.of(SCORES),
        "<b>" if random.one_in(2) => random.of(&BOUNDS[..12]),
        "<b>" => random.of(BOUNDS),
        "<q>" => random.of(LEX),
        "<p>" => random.of(GLOBS),
        "<t>" => random.of(SECONDS),
        "<u>" => random.of(ABSOLUTE),
        "<f>" => random.of(FUTURE),
        _ => panic!("no kind of argument is called {kind}"),
    }
    .to_vec()
}
