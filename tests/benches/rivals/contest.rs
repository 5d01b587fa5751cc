//! Who takes part, and how a round goes.

use std::{
    env,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    ays::Hosts,
    meter::{Meter, Spent},
    node::{self, Library, Tuning},
    plain::Task,
    report::Report,
    work::{self, Noted, PATIENCE, QUEUE, RATE, Result, WAITING, WARM_UP, because},
    worker::Worker,
};

/// How much is measured.
pub(crate) struct Settings {
    pub(super) events: usize,
    pub(super) rounds: usize,
    /// How long latencies are measured; 0 leaves them out.
    pub(super) seconds: u64,
    only: Vec<String>,
    redis: Vec<String>,
}

impl Settings {
    /// What the environment says, or the defaults.
    pub(crate) fn from_environment() -> Self {
        let text = |name: &str| env::var(format!("AYS_BENCH_{name}")).unwrap_or_default();
        let number = |name: &str, default: u64| text(name).parse().unwrap_or(default);
        let words = |name: &str, between: char| -> Vec<String> {
            text(name).split(between).map(str::trim).filter(|word| !word.is_empty()).map(Into::into).collect()
        };
        Self {
            events: number("EVENTS", 60_000).max(1000) as usize,
            rounds: number("ROUNDS", 3).max(1) as usize,
            seconds: number("SECONDS", 10),
            only: words("ONLY", ','),
            redis: words("REDIS", ' '),
        }
    }
}

/// What is tried with the rivals: processes, jobs at a time over all of them, pipelining.
const TUNINGS: [(usize, usize, bool); 11] = [
    (1, 1, false),
    (1, 50, false),
    (1, 100, false),
    (1, 300, false),
    (2, 50, false),
    (2, 100, false),
    (2, 300, false),
    (1, 100, true),
    (1, 300, true),
    (2, 100, true),
    (2, 300, true),
];

/// One who takes part.
pub(super) struct Contestant {
    pub(super) name: String,
    /// What it keeps of what ays-host promises: order within a service, and what a crash does.
    pub(super) promises: [&'static str; 2],
    kind: Kind,
    /// Why it cannot take part.
    out: Option<String>,
}

enum Kind {
    Ays { hosts: usize, embedded: bool },
    Plain { batch: usize },
    Node { library: Library, tuning: Tuning },
}

/// What a round of draining gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drained {
    /// Events a second.
    pub(super) rate: f64,
    /// For each event.
    pub(super) spent: Spent,
}

/// Measures everything, prints it, and writes it into `folder`.
pub(crate) fn run(settings: &Settings, folder: &Path) {
    let mut report = Report::begin(settings, folder);
    let mut contestants = contestants(settings, &folder.join("rivals"));
    for contestant in &mut contestants {
        tune(contestant, settings, &mut report);
    }
    for append_only in [false, true] {
        for round in 0..settings.rounds {
            for contestant in contestants.iter().filter(|contestant| contestant.out.is_none()) {
                let drained = contestant.drain(settings, append_only, settings.events);
                report.drained(contestant, append_only, round, drained);
            }
        }
        report.drain_table(&contestants, append_only);
    }
    if settings.seconds > 0 {
        for round in 0..settings.rounds {
            for contestant in contestants.iter().filter(|contestant| contestant.out.is_none()) {
                report.noted(contestant, round, contestant.latencies(settings));
            }
        }
        report.latency_table(&contestants);
    }
    report.end(&contestants);
}

fn contestants(settings: &Settings, installed: &Path) -> Vec<Contestant> {
    let ays = |name: &str, hosts, embedded| {
        let kind = Kind::Ays { hosts, embedded };
        Contestant { name: name.into(), promises: ["yes", "effects once"], kind, out: None }
    };
    let plain = |name: &str, batch| {
        let (promises, kind) = (["one at a time", "lost"], Kind::Plain { batch });
        Contestant { name: name.into(), promises, kind, out: None }
    };
    let mut all = vec![
        ays("ays-host", 1, false),
        ays("ays-host, two hosts", 2, false),
        ays("ays-host, embedded store", 1, true),
        plain("plain loop, 256 at a time", 256),
        plain("plain loop, one at a time", 1),
    ];
    let no_node = || node::install(installed).err();
    all.extend(rivals(installed));
    all.retain(|contestant| {
        settings.only.is_empty()
            || settings.only.iter().any(|only| contestant.name.starts_with(only.as_str()))
    });
    if all.iter().any(|contestant| matches!(contestant.kind, Kind::Node { .. }))
        && let Some(why) = no_node()
    {
        for contestant in all.iter_mut().filter(|one| matches!(one.kind, Kind::Node { .. })) {
            contestant.out = Some(why.clone());
        }
    }
    all
}

fn rivals(installed: &Path) -> [Contestant; 2] {
    [("bullmq", "no"), ("groupmq", "yes")].map(|(name, order)| {
        let tuning = Tuning { processes: 1, concurrency: 100, pipelining: false };
        let kind = Kind::Node { library: Library::new(name, installed), tuning };
        Contestant { name: name.into(), promises: [order, "at least once"], kind, out: None }
    })
}

/// Looks for what gives a rival its best figures: tries all, then the best few again, since a busy machine may have
/// hindered one of them.
fn tune(contestant: &mut Contestant, settings: &Settings, report: &mut Report) {
    let Kind::Node { library, .. } = &contestant.kind else { return };
    let library = library.clone();
    if contestant.out.is_some() {
        return;
    }
    match library.version() {
        Ok(version) => contestant.name = format!("{} {version}", library.name()),
        Err(why) => return contestant.out = Some(why),
    }
    let mut tried: Vec<(f64, Tuning)> = Vec::new();
    for (processes, concurrency, pipelining) in TUNINGS {
        tried.push((0.0, Tuning { processes, concurrency, pipelining }));
    }
    for candidates in [tried.len(), 4, 4] {
        for (most, tuning) in tried.iter_mut().take(candidates) {
            contestant.kind = Kind::Node { library: library.clone(), tuning: *tuning };
            match contestant.drain(settings, false, settings.events.min(15_000)) {
                Ok(drained) => {
                    report.tried(&contestant.name, *tuning, drained.rate);
                    *most = most.max(drained.rate);
                }
                Err(why) => return contestant.out = Some(why),
            }
        }
        tried.sort_by(|a, b| b.0.total_cmp(&a.0));
    }
    if let Some((_, tuning)) = tried.first() {
        contestant.kind = Kind::Node { library, tuning: *tuning };
    }
}

impl Contestant {
    /// Why it does not take part, if so.
    pub(super) fn out(&self) -> Option<&str> {
        self.out.as_deref()
    }

    /// How it is set up, where there is a choice.
    pub(super) fn tuning(&self) -> Option<Tuning> {
        match &self.kind {
            Kind::Node { tuning, .. } if self.out.is_none() => Some(*tuning),
            _ => None,
        }
    }

    /// Has it handle events that wait for it, on a fresh Redis.
    fn drain(&self, settings: &Settings, append_only: bool, events: usize) -> Result<Drained> {
        let meter = Meter::start(append_only, &settings.redis)?;
        let mut redis = meter.connect()?;
        let measure = |pids: &[u32], work: &mut dyn FnMut() -> Result<()>| -> Result<Drained> {
            let before = meter.read(pids)?;
            let began = Instant::now();
            work()?;
            let took = began.elapsed();
            let spent = meter.read(pids)?.since(before, events);
            Ok(Drained { rate: events as f64 / took.as_secs_f64(), spent })
        };
        match &self.kind {
            Kind::Ays { hosts, embedded } => {
                work::fill(&mut redis, events)?;
                let hosts = Hosts::start(&meter, *hosts, *embedded)?;
                let drained = measure(&hosts.pids(), &mut || {
                    open_queue(&mut redis)?;
                    hosts.drained(&meter, events)
                })?;
                match hosts.succeeded()? {
                    kept if kept == events => Ok(drained),
                    kept => Err(format!("{events} events have left {kept} records of jobs")),
                }
            }
            Kind::Plain { batch } => {
                work::fill(&mut redis, events)?;
                open_queue(&mut redis)?;
                let mut worker = Task::new(&meter, *batch, false).start()?;
                measure(&[worker.pid()], &mut || {
                    worker.begin()?;
                    worker.line(|line| line == "drained").map(|_| ())
                })
            }
            Kind::Node { library, tuning } => {
                let finished = library.fill(&meter, events)?;
                let mut workers = library.workers(&meter, *tuning, false)?;
                let pids: Vec<u32> = workers.iter().map(Worker::pid).collect();
                measure(&pids, &mut || {
                    workers.iter_mut().try_for_each(Worker::begin)?;
                    wait_for_finished(&meter, &mut redis, &finished, events)
                })
            }
        }
    }

    /// Has it note, for events that come at [`RATE`], how long after the push its handler starts.
    fn latencies(&self, settings: &Settings) -> Result<Vec<f64>> {
        let meter = Meter::start(false, &settings.redis)?;
        let mut redis = meter.connect()?;
        let lasting = Duration::from_secs(settings.seconds) + WARM_UP;
        let noted = match &self.kind {
            Kind::Ays { hosts, embedded } => {
                let hosts = Hosts::start(&meter, *hosts, *embedded)?;
                let events = work::push_stamps(&mut redis, lasting)?;
                hosts.noted(&meter, events)?
            }
            Kind::Plain { batch } => {
                let mut worker = Task::new(&meter, *batch, true).start()?;
                worker.begin()?;
                work::push_stamps(&mut redis, lasting)?;
                thread::sleep(Duration::from_millis(500));
                notes(&worker.end()?)?
            }
            Kind::Node { library, tuning } => {
                let mut workers = library.workers(&meter, *tuning, true)?;
                workers.iter_mut().try_for_each(Worker::begin)?;
                let (events, finished) = library.push(&meter, settings.seconds)?;
                wait_for_finished(&meter, &mut redis, &finished, events)?;
                let mut all = Vec::new();
                for worker in &mut workers {
                    all.extend(notes(&worker.end()?)?);
                }
                all
            }
        };
        let wanted = settings.seconds as usize * RATE;
        after_warm_up(noted, wanted)
    }
}

/// The entries that wait become the queue, at one moment.
fn open_queue(redis: &mut redis::Connection) -> Result<()> {
    redis::cmd("RENAME").arg(WAITING).arg(QUEUE).exec(redis).map_err(because("renaming the queue"))
}

fn wait_for_finished(
    meter: &Meter,
    redis: &mut redis::Connection,
    finished: &str,
    events: usize,
) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match meter.size(redis, "ZCARD", finished)? {
            done if done >= events => return Ok(()),
            done if Instant::now() > until => {
                return Err(format!("{done} of {events} jobs were finished within {PATIENCE:?}"));
            }
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn notes(said: &serde_json::Value) -> Result<Vec<Noted>> {
    let noted = |note: &serde_json::Value| Some(Noted { pushed: note[0].as_f64()?, took: note[1].as_f64()? });
    let notes = said["noted"].as_array().ok_or("it has noted nothing")?;
    notes.iter().map(|note| noted(note).ok_or_else(|| format!("it noted {note}"))).collect()
}

/// The last so many that were pushed, sorted by how long they took.
fn after_warm_up(mut noted: Vec<Noted>, wanted: usize) -> Result<Vec<f64>> {
    noted.sort_by(|a, b| a.pushed.total_cmp(&b.pushed));
    let first = noted.len().checked_sub(wanted);
    let first = first.ok_or_else(|| format!("it has noted {} times, not {wanted}", noted.len()))?;
    let mut took: Vec<f64> = noted.split_off(first).into_iter().map(|noted| noted.took).collect();
    took.sort_by(f64::total_cmp);
    Ok(took)
}
