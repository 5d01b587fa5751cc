//! The tables, and the file with every measurement.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    contest::{Contestant, Drained, Settings},
    node::Tuning,
    work::{RATE, Result, SERVICES},
};

/// What has been measured so far.
pub(super) struct Report {
    path: PathBuf,
    file: File,
    events: usize,
    rounds: usize,
    seconds: u64,
    /// By contestant's name and whether there was an append-only file.
    drained: BTreeMap<(String, bool), Vec<Drained>>,
    /// Half of the handlers started within the first, 99 % within the second, all within the third, in microseconds: of
    /// each round.
    latencies: BTreeMap<String, Vec<[f64; 3]>>,
    /// Why something was not measured.
    failures: BTreeMap<String, String>,
}

impl Report {
    /// Begins the file, in this folder.
    pub(super) fn begin(settings: &Settings, folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("cannot make a folder in target");
        let path = folder.join("redis_rivals.json");
        Self {
            file: File::create(&path).expect("cannot make a file in target"),
            path,
            events: settings.events,
            rounds: settings.rounds,
            seconds: settings.seconds,
            drained: BTreeMap::new(),
            latencies: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Writes down what a rival did with a tuning.
    pub(super) fn tried(&mut self, name: &str, tuning: Tuning, rate: f64) {
        eprintln!("{name} drains {rate:.0} events/s with {tuning}");
        self.write(&json!({
            "measured": "tuning", "contestant": name, "processes": tuning.processes,
            "concurrency": tuning.concurrency, "pipelining": tuning.pipelining, "events_per_s": rate,
        }));
    }

    /// Writes down a round of draining.
    pub(super) fn drained(
        &mut self,
        contestant: &Contestant,
        append_only: bool,
        round: usize,
        drained: Result<Drained>,
    ) {
        let name = &contestant.name;
        let log = if append_only { "everysec" } else { "off" };
        match drained {
            Ok(drained) => {
                eprintln!(
                    "round {}, append-only file {log}: {name}: {:.0} events/s",
                    round + 1,
                    drained.rate
                );
                let spent = drained.spent;
                self.write(&json!({
                    "measured": "drain", "contestant": name, "append_only_file": log, "round": round,
                    "events": self.events, "services": SERVICES, "events_per_s": drained.rate,
                    "commands_per_event": spent.commands, "script_calls_per_event": spent.scripts,
                    "bytes_per_event": spent.bytes, "worker_cpu_us_per_event": spent.worker_cpu,
                    "redis_cpu_us_per_event": spent.redis_cpu,
                }));
                self.drained.entry((name.clone(), append_only)).or_default().push(drained);
            }
            Err(why) => self.failed(name, why),
        }
    }

    /// Writes down latencies, which are sorted.
    pub(super) fn noted(&mut self, contestant: &Contestant, round: usize, noted: Result<Vec<f64>>) {
        let name = &contestant.name;
        match noted {
            Ok(took) => {
                let shares = [0.5, 0.99, 1.0].map(|share| percentile(&took, share));
                let [p50, p99, most] = shares;
                eprintln!(
                    "round {}: {name}: {p50:.0} µs from push to handler, 99 % within {p99:.0} µs",
                    round + 1
                );
                self.write(&json!({
                    "measured": "latency", "contestant": name, "round": round, "events_per_s": RATE, "seconds": self.seconds,
                    "p50_us": p50, "p99_us": p99, "max_us": most,
                }));
                self.latencies.entry(name.clone()).or_default().push(shares);
            }
            Err(why) => self.failed(name, why),
        }
    }

    /// Prints how fast all were, with an append-only file or without.
    pub(super) fn drain_table(&self, contestants: &[Contestant], append_only: bool) {
        let log = if append_only { "append-only file synced every second" } else { "no append-only file" };
        println!(
            "\n{} events for {SERVICES} services, each one job; {log}; median of {} rounds{}",
            self.events,
            self.rounds,
            load()
        );
        println!(
            "{:<28} {:>9} {:>9} {:>8} {:>8} {:>8} {:>10} {:>9}  {:<14} {:<13}",
            "",
            "events/s",
            "of first",
            "commands",
            "scripts",
            "bytes",
            "worker µs",
            "redis µs",
            "service order",
            "after a crash"
        );
        let first = contestants.iter().find_map(|one| self.median(one, append_only, |of| Some(of.rate)));
        for one in contestants {
            let Some(rate) = self.median(one, append_only, |of| Some(of.rate)) else {
                println!("{:<28} {}", one.name, self.why_not(one));
                continue;
            };
            let [commands, scripts, bytes, worker, redis] = [
                (self.median(one, append_only, |of| Some(of.spent.commands)), 2),
                (self.median(one, append_only, |of| Some(of.spent.scripts)), 3),
                (self.median(one, append_only, |of| Some(of.spent.bytes)), 0),
                (self.median(one, append_only, |of| of.spent.worker_cpu), 1),
                (self.median(one, append_only, |of| of.spent.redis_cpu), 1),
            ]
            .map(|(value, digits)| value.map_or("?".into(), |value| format!("{value:.digits$}")));
            let [order, crash] = one.promises;
            println!(
                "{:<28} {rate:>9.0} {:>8.2}× {commands:>8} {scripts:>8} {bytes:>8} {worker:>10} {redis:>9}  {order:<14} {crash:<13}",
                one.name,
                rate / first.unwrap_or(rate),
            );
        }
    }

    /// Prints how soon handlers started.
    pub(super) fn latency_table(&self, contestants: &[Contestant]) {
        println!(
            "\nfrom push to the handler's start, {RATE} events a second for {} s; no append-only file; median of {} rounds{}",
            self.seconds,
            self.rounds,
            load()
        );
        println!("{:<28} {:>9} {:>9} {:>9}", "", "p50 µs", "p99 µs", "most µs");
        for one in contestants {
            match self.latencies.get(&one.name) {
                Some(rounds) => {
                    let [p50, p99, most] =
                        [0, 1, 2].map(|n| median(rounds.iter().map(|round| round[n])).unwrap_or(f64::NAN));
                    println!("{:<28} {p50:>9.0} {p99:>9.0} {most:>9.0}", one.name);
                }
                None => println!("{:<28} {}", one.name, self.why_not(one)),
            }
        }
    }

    /// Prints what the figures are, and where each is.
    pub(super) fn end(&self, contestants: &[Contestant]) {
        println!(
            "\nCommands (those within scripts included), calls of scripts, bytes over the network and CPU time are per event."
        );
        println!(
            "Service order: whether the events of a service are handled in order of arrival, one at a time. After a crash: an \
             event may be\nlost, may be handled twice, or is handled again without a second effect. The job queues keep \
             finished jobs, as ays-host does."
        );
        for one in contestants {
            if let Some(tuning) = one.tuning() {
                println!("{}: {tuning}, the best of those tried.", one.name);
            }
        }
        println!("Every measurement: {}", self.path.display());
    }

    fn failed(&mut self, name: &str, why: String) {
        eprintln!("{name}: {why}");
        self.write(&json!({ "measured": "nothing", "contestant": name, "why": why }));
        self.failures.insert(name.into(), why);
    }

    fn why_not(&self, contestant: &Contestant) -> String {
        let why = contestant.out().or_else(|| self.failures.get(&contestant.name).map(String::as_str));
        format!("not measured: {}", why.unwrap_or("no round has ended"))
    }

    fn median(
        &self,
        contestant: &Contestant,
        append_only: bool,
        of: impl Fn(&Drained) -> Option<f64>,
    ) -> Option<f64> {
        let rounds = self.drained.get(&(contestant.name.clone(), append_only))?;
        median(rounds.iter().filter_map(of))
    }

    fn write(&mut self, line: &Value) {
        writeln!(self.file, "{line}").expect("cannot write in target");
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// How busy the machine is, where it says so.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().map(|load| format!("; load {load}")).unwrap_or_default()
}
