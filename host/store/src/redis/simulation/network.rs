//! The simulated server, and the ways of hosts to it.
//!
//! What a host sends on one connection is executed in order, and answered in order. When a connection breaks, what is under
//! way on it may never arrive, may be executed without an answer, or may be executed late: after the host has connected
//! anew and asked again, as when it was still in a socket's buffer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ays_redis::Trouble;
use ays_redis_model::{Model, Reply};
use redis::{RedisError, Value};
use tokio::sync::{Notify, oneshot};

use super::{clock, random::Random, stats::Stats};
use crate::redis::{
    args::Args,
    keys::Keys,
    link::Link,
    scripts::{COMMIT, LEASE, OPEN, RETAIN, Script},
};

/// For how long the server blocks who waits, in µs.
const BLOCKED: u64 = 5_000_000;

type Answer = Result<Vec<Value>, Trouble>;

/// How bad the network is.
#[derive(Clone, Debug, Default)]
pub(super) struct Weather {
    /// How often in a thousand requests a connection breaks.
    pub(super) breaks: u64,
    /// How often in a thousand a request or an answer takes up to a second.
    pub(super) slow: u64,
}

/// What is asked.
enum What {
    Call(&'static Script, Args),
    Ask(Vec<Args>),
    Wait(String),
}

struct Request {
    number: u64,
    what: What,
}

#[derive(Default)]
struct Connection {
    host: usize,
    /// Sent, and not arrived.
    sent: VecDeque<Request>,
    /// When what was sent last arrives, and when what was answered last.
    last: (u64, u64),
    /// Until when nothing arrives.
    held: u64,
    /// Who waits for answers. None of it is answered once the connection is broken.
    open: bool,
    asking: BTreeMap<u64, oneshot::Sender<Answer>>,
}

/// A host's side.
#[derive(Default)]
pub(super) struct Way {
    /// For commands, and for waiting.
    lines: [Option<usize>; 2],
    pub(super) cut: bool,
    met: Option<u64>,
    generation: u64,
}

enum Event {
    Arrive(usize),
    Answer(usize, u64, Answer),
    Fail(oneshot::Sender<Answer>),
    Unblock(u64),
}

/// Who is blocked until there is something in a list.
struct Blocked {
    connection: usize,
    number: u64,
    key: String,
}

pub(super) struct Server {
    pub(super) model: Model,
    keys: Keys,
    /// Which process it is; none while it is down.
    process: Option<u64>,
    processes: u64,
    connections: Vec<Connection>,
    pub(super) ways: Vec<Way>,
    blocked: Vec<Blocked>,
    events: BTreeMap<(u64, u64), Event>,
    numbers: u64,
    pub(super) weather: Weather,
    random: Random,
    pub(super) stats: Stats,
    /// Over all that was executed, when, and how it was answered.
    pub(super) hash: u64,
    pub(super) trace: Option<Vec<String>>,
    /// Records that were dropped from the history.
    pub(super) archive: BTreeMap<String, Vec<u8>>,
}

impl Server {
    pub(super) fn new(keys: Keys, random: Random, traced: bool) -> Self {
        Self {
            model: Model::new(),
            keys,
            process: Some(0),
            processes: 1,
            connections: Vec::new(),
            ways: Vec::new(),
            blocked: Vec::new(),
            events: BTreeMap::new(),
            numbers: 0,
            weather: Weather::default(),
            random,
            stats: Stats::default(),
            hash: 0xcbf2_9ce4_8422_2325,
            trace: traced.then(Vec::new),
            archive: BTreeMap::new(),
        }
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let now = clock::micros();
            trace.push(format!("{:>10.3} {}", now as f64 / 1000.0, line()));
        }
    }

    /// What a command answers, asked by the test itself.
    pub(super) fn look(&mut self, args: &[&str]) -> Reply {
        self.model.set_time(clock::server_micros());
        let mut command: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        if let (Some(name), Some(key)) = (args.first(), args.get(1))
            && !name.is_empty()
        {
            command[1] = self.keys.key(key).into_bytes();
        }
        self.model.command(&command.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn at(&mut self, when: u64, event: Event) {
        let number = self.number();
        self.events.insert((when, number), event);
    }

    /// How long something is under way, in µs.
    fn delay(&mut self) -> u64 {
        if self.random.permille(self.weather.slow) {
            return self.random.between(20_000, 1_000_000);
        }
        let most = self.random.of(&[300, 1_000, 4_000, 20_000]);
        self.random.between(100, most)
    }

    /// How long it takes until a host finds that a connection is no more.
    fn found_out(&mut self) -> u64 {
        match self.random.below(10) {
            0 => self.random.between(50_000, 2_000_000),
            _ => self.random.between(100, 20_000),
        }
    }

    fn send(&mut self, host: usize, what: What) -> oneshot::Receiver<Answer> {
        let now = clock::micros();
        let (sender, receiver) = oneshot::channel();
        let Some(process) = self.process.filter(|_| !self.ways[host].cut) else {
            let when = now + self.found_out();
            self.at(when, Event::Fail(sender));
            return receiver;
        };
        let line = usize::from(matches!(what, What::Wait(_)));
        let mut delay = self.delay();
        let connection = match self.ways[host].lines[line] {
            Some(connection) => connection,
            None => {
                delay += 2 * self.delay();
                let way = &mut self.ways[host];
                if line == 0 {
                    way.generation += u64::from(way.met.is_some_and(|met| met != process));
                    way.met = Some(process);
                }
                way.lines[line] = Some(self.connections.len());
                self.connections.push(Connection { host, open: true, ..Connection::default() });
                self.connections.len() - 1
            }
        };
        let number = self.number();
        let breaks = self.random.permille(self.weather.breaks);
        let at = &mut self.connections[connection];
        let arrives = (now + delay).max(at.last.0);
        at.last.0 = arrives;
        at.asking.insert(number, sender);
        at.sent.push_back(Request { number, what });
        self.at(arrives, Event::Arrive(connection));
        if breaks {
            self.break_line(host, line);
        }
        receiver
    }

    /// A connection is no more. What of it arrives, and when, is chance.
    pub(super) fn break_line(&mut self, host: usize, line: usize) {
        let Some(connection) = self.ways[host].lines[line].take() else { return };
        let now = clock::micros();
        let sent = self.connections[connection].sent.len() as u64;
        let arriving = match self.random.below(3) {
            0 => 0,
            1 => sent,
            _ => self.random.between(0, sent),
        };
        let held = match self.random.below(4) {
            0 => 0,
            1 => self.random.between(1_000, 100_000),
            2 => self.random.between(10_000, 1_000_000),
            _ => self.random.between(100_000, 5_000_000),
        };
        self.note(|| format!("h{host} line {line} breaks, {arriving} of {sent} arrive, held for {held} µs"));
        let found = now + self.found_out();
        let at = &mut self.connections[connection];
        at.sent.truncate(usize::try_from(arriving).unwrap());
        at.held = now + held;
        at.open = false;
        for (_, sender) in std::mem::take(&mut at.asking) {
            self.at(found, Event::Fail(sender));
        }
    }

    /// Cuts a host off, or lets it through again.
    pub(super) fn cut(&mut self, host: usize, cut: bool) {
        self.note(|| format!("h{host} {}", if cut { "is cut off" } else { "is let through" }));
        self.ways[host].cut = cut;
        if cut {
            self.break_line(host, 0);
            self.break_line(host, 1);
        }
    }

    /// It goes down, with all that is under way.
    pub(super) fn stop(&mut self) {
        self.note(|| "the server stops".into());
        self.process = None;
        for host in 0..self.ways.len() {
            self.break_line(host, 0);
            self.break_line(host, 1);
        }
        for connection in &mut self.connections {
            connection.sent.clear();
        }
        self.blocked.clear();
        self.model.script_flush();
    }

    /// It is there again, maybe as it was some time ago.
    pub(super) fn start(&mut self, with: Option<Model>) {
        self.note(|| format!("the server starts{}", if with.is_some() { " as it was before" } else { "" }));
        if let Some(model) = with {
            self.model = model;
        }
        self.process = Some(self.processes);
        self.processes += 1;
    }

    pub(super) fn process(&self) -> u64 {
        self.processes
    }

    /// Whether something may still be executed that nobody waits for.
    pub(super) fn has_late(&self) -> bool {
        self.connections.iter().any(|connection| !connection.open && !connection.sent.is_empty())
    }

    /// Does what is due. Returns when the next thing is.
    fn turn(&mut self) -> Option<u64> {
        loop {
            let now = clock::micros();
            let first = self.events.first_entry()?;
            if first.key().0 > now {
                return Some(first.key().0);
            }
            match first.remove() {
                Event::Arrive(connection) => self.arrive(connection, now),
                Event::Answer(connection, number, answer) => {
                    if let Some(sender) = self.connections[connection].asking.remove(&number) {
                        let _ = sender.send(answer);
                    }
                }
                Event::Fail(sender) => {
                    let _ = sender.send(Err(disconnected()));
                }
                Event::Unblock(number) => {
                    if let Some(at) = self.blocked.iter().position(|blocked| blocked.number == number) {
                        let blocked = self.blocked.remove(at);
                        self.answer(blocked.connection, number, Vec::new());
                    }
                }
            }
        }
    }

    fn answer(&mut self, connection: usize, number: u64, values: Vec<Value>) {
        let when = clock::micros() + self.delay();
        let at = &mut self.connections[connection];
        if at.open {
            let when = when.max(at.last.1);
            at.last.1 = when;
            self.at(when, Event::Answer(connection, number, Ok(values)));
        }
    }

    fn arrive(&mut self, connection: usize, now: u64) {
        let at = &mut self.connections[connection];
        if at.held > now {
            let held = at.held;
            self.at(held, Event::Arrive(connection));
            return;
        }
        let (host, late) = (at.host, !at.open);
        let Some(Request { number, what }) = at.sent.pop_front() else { return };
        if self.process.is_none() {
            return;
        }
        self.model.set_time(clock::server_micros());
        match what {
            What::Wait(key) => {
                self.blocked.push(Blocked { connection, number, key });
                self.at(now + BLOCKED, Event::Unblock(number));
            }
            What::Ask(commands) => {
                let mut values = Vec::with_capacity(commands.len());
                for command in &commands {
                    let args: Vec<&[u8]> = command.iter().collect();
                    let reply = self.model.command(&args);
                    values.push(value(reply));
                }
                self.digest(host, &commands);
                self.note(|| {
                    let first = commands.first().map(written).unwrap_or_default();
                    format!("h{host} asks {} things{}: {first}", commands.len(), lateness(late))
                });
                self.answer(connection, number, values);
            }
            What::Call(script, args) => {
                self.stats.late += u64::from(late);
                if std::ptr::eq(script, &RETAIN) {
                    self.keep_history();
                }
                let prefix = self.keys.prefix().to_owned();
                let mut all: Vec<&[u8]> = vec![b"EVAL", script.source.as_bytes(), b"1", prefix.as_bytes()];
                all.extend(args.iter());
                let reply = self.model.command(&all);
                self.digest(host, std::slice::from_ref(&args));
                let name = self.judge(script, &reply);
                self.note(|| {
                    let reply = shown(&reply);
                    format!(
                        "h{host} calls {name}{}: {}\n{:>13}-> {reply}",
                        lateness(late),
                        written(&args),
                        ""
                    )
                });
                self.hash = fnv(self.hash, shown(&reply).as_bytes());
                self.answer(connection, number, vec![value(reply)]);
            }
        }
        self.unblock();
    }

    /// Counts what was done.
    fn judge(&mut self, script: &'static Script, reply: &Reply) -> &'static str {
        if let Reply::Error(error) = reply {
            panic!("a script failed: {error}");
        }
        let Reply::Array(items) = reply else { return "retain" };
        if std::ptr::eq(script, &COMMIT) {
            self.stats.commit(items);
            "commit"
        } else if std::ptr::eq(script, &LEASE) {
            self.stats.lease(items);
            "lease"
        } else if std::ptr::eq(script, &OPEN) {
            "open"
        } else {
            "a script"
        }
    }

    fn digest(&mut self, host: usize, all: &[Args]) {
        let mut hash = fnv(self.hash, &clock::micros().to_le_bytes());
        hash = fnv(hash, &host.to_le_bytes());
        for args in all {
            for arg in args.iter() {
                hash = fnv(hash, arg);
            }
        }
        self.hash = hash;
    }

    /// Who waits gets what has come.
    fn unblock(&mut self) {
        let mut at = 0;
        while let Some(blocked) = self.blocked.get(at) {
            let popped = self.model.command(&[b"LPOP", blocked.key.as_bytes()]);
            if popped == Reply::Nil {
                at += 1;
                continue;
            }
            let Blocked { connection, number, .. } = self.blocked.remove(at);
            self.answer(connection, number, Vec::new());
        }
    }

    /// Before history is dropped, the test keeps what is in it.
    fn keep_history(&mut self) {
        for piece in texts(&self.look(&["LRANGE", "pieces", "0", "-1"])) {
            let all = self.look(&["HGETALL", &format!("h:{piece}:jobs")]);
            let all = bulks(&all);
            for pair in all.chunks(2) {
                self.archive.insert(String::from_utf8(pair[0].clone()).unwrap(), pair[1].clone());
            }
        }
    }
}

fn lateness(late: bool) -> &'static str {
    if late { " on a broken connection" } else { "" }
}

pub(super) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(super) fn bulks(reply: &Reply) -> Vec<Vec<u8>> {
    let Reply::Array(items) = reply else { return Vec::new() };
    let bulk = |item: &Reply| match item {
        Reply::Bulk(bytes) => bytes.clone(),
        _ => Vec::new(),
    };
    items.iter().map(bulk).collect()
}

pub(super) fn texts(reply: &Reply) -> Vec<String> {
    bulks(reply).into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
}

fn written(args: &Args) -> String {
    let all: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
    all.join(" ")
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Nil => "-".into(),
        Reply::Int(n) => n.to_string(),
        Reply::Status(text) | Reply::Error(text) => text.clone(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Array(items) => {
            let all: Vec<_> = items.iter().map(shown).collect();
            format!("[{}]", all.join(", "))
        }
    }
}

fn value(reply: Reply) -> Value {
    match reply {
        Reply::Nil => Value::Nil,
        Reply::Int(n) => Value::Int(n),
        Reply::Status(text) if text == "OK" => Value::Okay,
        Reply::Status(text) => Value::SimpleString(text),
        Reply::Bulk(bytes) => Value::BulkString(bytes),
        Reply::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        Reply::Error(error) => panic!("the server refuses a command: {error}"),
    }
}

fn disconnected() -> Trouble {
    let error = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "simulated");
    Trouble::of(&RedisError::from(error), "the simulated server")
}

/// The server, with what makes it go.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) server: Arc<Mutex<Server>>,
    told: Arc<Notify>,
}

impl Network {
    pub(super) fn new(server: Server) -> Self {
        Self { server: Arc::new(Mutex::new(server)), told: Arc::default() }
    }

    /// Goes on as long as the simulation does.
    pub(super) async fn run(self) {
        loop {
            let next = self.server.lock().unwrap().turn();
            let told = self.told.notified();
            match next {
                None => told.await,
                Some(next) => {
                    let span = Duration::from_micros(next.saturating_sub(clock::micros()));
                    tokio::select! {
                        biased;
                        () = told => {}
                        () = clock::sleep(span) => {}
                    }
                }
            }
        }
    }

    /// A new host's way to the server.
    pub(super) fn way(&self) -> (usize, Arc<Line>) {
        let mut server = self.server.lock().unwrap();
        server.ways.push(Way::default());
        let host = server.ways.len() - 1;
        (host, Arc::new(Line { network: self.clone(), host }))
    }
}

/// A host's link.
pub(super) struct Line {
    network: Network,
    host: usize,
}

impl Line {
    async fn send(&self, what: What) -> Answer {
        let answer = self.network.server.lock().unwrap().send(self.host, what);
        self.network.told.notify_one();
        answer.await.unwrap_or_else(|_| Err(disconnected()))
    }
}

#[async_trait]
impl Link for Line {
    async fn call(&self, script: &'static Script, args: &Args) -> Result<Value, Trouble> {
        let mut values = self.send(What::Call(script, args.clone())).await?;
        Ok(values.pop().unwrap_or(Value::Nil))
    }

    async fn ask(&self, commands: &[Args]) -> Result<Vec<Value>, Trouble> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.send(What::Ask(commands.to_vec())).await
    }

    async fn wait(&self, list: &str) -> Result<(), Trouble> {
        self.send(What::Wait(list.to_owned())).await.map(|_| ())
    }

    fn generation(&self) -> u64 {
        self.network.server.lock().unwrap().ways[self.host].generation
    }
}
