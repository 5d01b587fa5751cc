//! What work costs: Redis' commands and bytes, and everybody's CPU time.

use std::{cell::Cell, collections::HashMap, fs};

use ays_tests::redis::RedisServer;

use super::work::{Result, because};

/// A fresh Redis, and what is asked of it by the benchmark itself.
pub(super) struct Meter {
    server: RedisServer,
    pid: u32,
    /// The commands that the benchmark sent to look whether all is done: they are nobody's cost.
    own: Cell<u64>,
}

/// What has been spent since the server started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Commands, those within scripts included.
    pub(super) commands: f64,
    /// Calls of scripts and functions.
    pub(super) scripts: f64,
    /// Bytes to and from clients.
    pub(super) bytes: f64,
    /// Microseconds of CPU time of the contestant's processes; none where there is no `/proc`.
    pub(super) worker_cpu: Option<f64>,
    /// The same of redis-server.
    pub(super) redis_cpu: Option<f64>,
}

impl Meter {
    /// Starts a server, with an append-only file or without.
    pub(super) fn start(append_only: bool, options: &[String]) -> Result<Self> {
        let log = if append_only { "yes" } else { "no" };
        let mut all = vec!["--appendonly", log, "--appendfsync", "everysec"];
        all.extend(options.iter().map(String::as_str));
        let server = RedisServer::start_with(&all);
        let mut meter = Self { server, pid: 0, own: Cell::new(0) };
        let server = meter.info("server")?;
        meter.pid = server.get("process_id").and_then(|pid| pid.parse().ok()).unwrap_or_default();
        Ok(meter)
    }

    /// `redis://127.0.0.1:PORT`: by TCP, as hosts on several machines would.
    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// A connection.
    pub(super) fn connect(&self) -> Result<redis::Connection> {
        redis::Client::open(self.url())
            .and_then(|client| client.get_connection())
            .map_err(because("connecting to Redis"))
    }

    /// Asks how long a list or how large a sorted set is, at nobody's cost.
    pub(super) fn size(&self, redis: &mut redis::Connection, command: &str, key: &str) -> Result<usize> {
        self.own.set(self.own.get() + 1);
        redis::cmd(command).arg(key).query(redis).map_err(because("asking how far it is"))
    }

    /// Reads what has been spent, by these processes and in Redis.
    pub(super) fn read(&self, workers: &[u32]) -> Result<Spent> {
        let (calls, stats) = (self.info("commandstats")?, self.info("stats")?);
        let (mut commands, mut scripts) = (0.0, 0.0);
        for (name, value) in &calls {
            let Some(name) = name.strip_prefix("cmdstat_") else { continue };
            let calls = value.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
            let calls: f64 = calls.and_then(|calls| calls.parse().ok()).unwrap_or_default();
            if name != "info" {
                commands += calls;
            }
            if name.starts_with("eval") || name.starts_with("fcall") {
                scripts += calls;
            }
        }
        let bytes = |name: &str| stats.get(name).and_then(|value| value.parse().ok()).unwrap_or(0.0);
        Ok(Spent {
            commands: commands - self.own.get() as f64,
            scripts,
            bytes: bytes("total_net_input_bytes") + bytes("total_net_output_bytes"),
            worker_cpu: workers.iter().map(|pid| cpu_time(*pid)).sum(),
            redis_cpu: cpu_time(self.pid),
        })
    }

    fn info(&self, section: &str) -> Result<HashMap<String, String>> {
        let mut redis = self.connect()?;
        let text: String =
            redis::cmd("INFO").arg(section).query(&mut redis).map_err(because("asking Redis"))?;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }
}

impl Spent {
    /// What was spent since then, for each of so many events.
    pub(super) fn since(self, before: Self, events: usize) -> Self {
        let each = |after: f64, before: f64| (after - before).max(0.0) / events as f64;
        Self {
            commands: each(self.commands, before.commands),
            scripts: each(self.scripts, before.scripts),
            bytes: each(self.bytes, before.bytes),
            worker_cpu: self.worker_cpu.zip(before.worker_cpu).map(|(a, b)| each(a, b)),
            redis_cpu: self.redis_cpu.zip(before.redis_cpu).map(|(a, b)| each(a, b)),
        }
    }
}

/// Microseconds of CPU time that a process has used, over all its threads.
fn cpu_time(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name, which may have blanks in it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n)?.parse::<f64>().ok();
    // Fields 14 and 15 of proc(5), utime and stime, in ticks of 10 ms: Linux says so to programs whatever it uses itself.
    let coarse = (ticks(11)? + ticks(12)?) * 10_000.0;
    // Exact, but without threads that have ended.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let exact: f64 = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|times| times.split_whitespace().next()?.parse::<f64>().ok())
        .sum();
    Some(coarse.max(exact / 1e3))
}
