//! The plain loop: what Redis and Rust give when nothing is promised. An entry that was popped is lost when the process
//! dies, no record is kept, and nobody is kept apart from anybody.

use std::{
    env,
    io::{self, BufRead as _, Write as _},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    meter::Meter,
    work::{COUNTS, QUEUE, Result, because, now},
    worker::Worker,
};

/// Set in a process that is to be a plain loop.
const VARIABLE: &str = "AYS_BENCH_PLAIN_LOOP";

/// What a plain loop does.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    url: String,
    /// How many entries are popped by a command, and counted by a pipeline.
    batch: usize,
    /// Whether it notes the time of each entry instead of counting it.
    timing: bool,
}

impl Task {
    pub(super) fn new(meter: &Meter, batch: usize, timing: bool) -> Self {
        Self { url: meter.url(), batch, timing }
    }

    /// Starts a process for it.
    pub(super) fn start(&self) -> Result<Worker> {
        let program = env::current_exe().map_err(because("looking for this program"))?;
        let task = format!("{} {} {}", self.batch, self.timing, self.url);
        let mut worker = Worker::start(Command::new(program).env(VARIABLE, task))?;
        worker.ready()?;
        Ok(worker)
    }

    /// The task, in a process that was started for one.
    pub(crate) fn of_this_process() -> Option<Self> {
        let task = env::var(VARIABLE).ok()?;
        let mut words = task.splitn(3, ' ');
        let mut word = || words.next().expect("start() writes three words");
        let batch = word().parse().expect("start() writes a number");
        let timing = word() == "true";
        Some(Self { batch, timing, url: word().into() })
    }

    /// Does it: says `ready`, begins at a line, says `drained` when nothing is left, and ends with its input.
    pub(crate) fn run(&self) {
        let client = redis::Client::open(self.url.as_str()).expect("start() writes a URL");
        let mut redis = client.get_connection().expect("Redis can be reached");
        let mut input = io::stdin().lock();
        println!("ready");
        let _ = input.read_line(&mut String::new());
        if self.timing {
            let ends = std::thread::spawn(|| io::stdin().lock().read_line(&mut String::new()));
            drop(input);
            let mut noted = Vec::new();
            while !ends.is_finished() {
                self.time(&mut redis, &mut noted);
            }
            say(&json!({ "noted": noted }));
        } else {
            while self.count(&mut redis) {}
            println!("drained");
            let _ = input.read_line(&mut String::new());
            say(&json!({}));
        }
    }

    /// Handles a batch; false when there is none.
    fn count(&self, redis: &mut redis::Connection) -> bool {
        let entries = self.pop(redis);
        let mut writes = redis::pipe();
        for entry in &entries {
            let entry: Value = serde_json::from_slice(entry).expect("it is JSON");
            let service = entry["event"].as_str().expect("it has an event");
            writes.cmd("HINCRBY").arg(COUNTS).arg(service).arg(1).ignore();
        }
        if !entries.is_empty() {
            writes.exec(redis).expect("Redis counts");
        }
        !entries.is_empty()
    }

    /// Handles a batch, or waits for an entry.
    fn time(&self, redis: &mut redis::Connection, noted: &mut Vec<[f64; 2]>) {
        let mut entries = if self.batch > 1 { self.pop(redis) } else { Vec::new() };
        if entries.is_empty() {
            let waited: Option<(String, Vec<u8>)> = redis::cmd("BLPOP")
                .arg(QUEUE)
                .arg(Duration::from_millis(200).as_secs_f64())
                .query(redis)
                .expect("Redis answers");
            entries.extend(waited.map(|(_, entry)| entry));
        }
        for entry in &entries {
            let entry: Value = serde_json::from_slice(entry).expect("it is JSON");
            let pushed = u128::from(entry["args"][0].as_u64().expect("it has a time"));
            noted.push([pushed as f64 / 1e3, now().saturating_sub(pushed) as f64 / 1e3]);
        }
    }

    fn pop(&self, redis: &mut redis::Connection) -> Vec<Vec<u8>> {
        let popped: Option<Vec<Vec<u8>>> =
            redis::cmd("LPOP").arg(QUEUE).arg(self.batch).query(redis).expect("Redis pops");
        popped.unwrap_or_default()
    }
}

fn say(what: &Value) {
    println!("{what}");
    let _ = io::stdout().flush();
}
