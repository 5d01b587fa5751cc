//! ays-host itself: the real binary, with the probe of the tests as its actor.

use std::{
    fmt::Write as _,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ays_tests::{actors, host::binary};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    meter::Meter,
    work::{Noted, PATIENCE, QUEUE, Result, SERVICES, because},
    worker::Worker,
};

/// How long hosts are given to share the partitions among them.
const SHARING: Duration = Duration::from_secs(5);

/// Running hosts of one namespace.
pub(super) struct Hosts {
    workers: Vec<Worker>,
    urls: Vec<String>,
    agent: ureq::Agent,
    _folder: TempDir,
}

impl Hosts {
    /// Starts so many hosts, one after the other, with the blueprint applied; with Redis as their store or, for one
    /// host, with the embedded one.
    pub(super) fn start(meter: &Meter, hosts: usize, embedded: bool) -> Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(because("making a folder"))?;
        let blueprint = folder.path().join("blueprint.yaml");
        fs::write(&blueprint, self::blueprint()).map_err(because("writing a blueprint"))?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut all = Self { workers: Vec::new(), urls: Vec::new(), agent, _folder: folder };
        for _ in 0..hosts {
            let mut command = Command::new(binary());
            command.arg("serve").arg(&blueprint).arg("--actors").arg(actors());
            command.arg("--code-cache").arg(actors().with_file_name("code"));
            command.args(["--listen", "127.0.0.1:0", "--log-level", "info,guest=warn", "--store"]);
            if embedded {
                let state = all._folder.path().join("state");
                command.arg(format!("file:{}", state.display())).arg("--command-queue").arg(meter.url());
            } else {
                command.arg(meter.url());
            }
            let mut worker = Worker::start(&mut command)?;
            let line = worker.line(|line| line.contains("listening on http://"))?;
            let url = line.split("listening on ").nth(1).unwrap_or_default();
            worker.line(|line| line.ends_with("ready"))?;
            all.urls.push(url.to_owned());
            all.workers.push(worker);
        }
        if hosts > 1 {
            // The one that came first has all partitions at first, and gives the others their share.
            thread::sleep(SHARING);
        }
        Ok(all)
    }

    /// Their process ids.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.workers.iter().map(Worker::pid).collect()
    }

    /// Waits until the queue is empty, no job is left, and the services have counted this many events.
    pub(super) fn drained(&self, meter: &Meter, events: usize) -> Result<()> {
        let mut redis = meter.connect()?;
        self.wait(meter, &mut redis, || Ok(self.counted()? == events as u64))
    }

    /// How many events all services have counted.
    fn counted(&self) -> Result<u64> {
        let services = self.list("/api/v1/services?actor=probe")?;
        Ok(services.iter().filter_map(|service| service["data"]["count"].as_u64()).sum())
    }

    /// How many jobs have a record that says `ok`.
    pub(super) fn succeeded(&self) -> Result<usize> {
        Ok(self.list("/api/v1/jobs?state=ok&action=count")?.len())
    }

    /// Waits until so many stamps are handled, and returns what the handlers said.
    pub(super) fn noted(&self, meter: &Meter, events: usize) -> Result<Vec<Noted>> {
        let mut redis = meter.connect()?;
        let mut jobs = Vec::new();
        self.wait(meter, &mut redis, || {
            jobs = self.list("/api/v1/jobs?state=ok&action=since")?;
            Ok(jobs.len() == events)
        })?;
        let noted = |job: &Value| {
            let (pushed, took) = (job["args"][0].as_f64()?, job["result"].as_f64()?);
            Some(Noted { pushed: pushed / 1e3, took: took / 1e3 })
        };
        jobs.iter().map(|job| noted(job).ok_or_else(|| format!("a job has no time: {job}"))).collect()
    }

    /// Looks in the cheapest way first, so that looking takes little from those who work.
    fn wait(
        &self,
        meter: &Meter,
        redis: &mut redis::Connection,
        mut done: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            if meter.size(redis, "LLEN", QUEUE)? == 0 && self.pending()? == 0 && done()? {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("not all was done within {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn pending(&self) -> Result<u64> {
        let mut pending = 0;
        for url in &self.urls {
            let ready = self.get(&format!("{url}/readyz"))?;
            pending +=
                ready["store"]["pending"].as_u64().ok_or_else(|| format!("it is not ready: {ready}"))?;
        }
        Ok(pending)
    }

    fn list(&self, path: &str) -> Result<Vec<Value>> {
        let url = self.urls.first().ok_or("no host runs")?;
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.get(&format!("{url}{path}&limit=1000{cursor}"))?;
            match page["items"].take() {
                Value::Array(more) => items.extend(more),
                _ => return Err(format!("{path}: {page}")),
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    fn get(&self, url: &str) -> Result<Value> {
        let mut answer = self.agent.get(url).call().map_err(because("asking the host"))?;
        let body = answer.body_mut().with_config().limit(256 << 20);
        let text = body.read_to_string().map_err(because("asking the host"))?;
        serde_json::from_str(&text).map_err(|_| format!("{url} answers {text}"))
    }
}

/// The services, each with a filter for events to count and one for events with a time.
fn blueprint() -> String {
    let (mut services, mut filters) = (String::new(), String::from("eventfilters:\n"));
    for n in 0..SERVICES {
        let _ = writeln!(services, "probe__s{n}:");
        for (event, action) in [("bump", "count"), ("stamp", "since")] {
            let _ =
                writeln!(filters, "  - {{cmd: {event}{n}, actor: probe, service: s{n}, action: {action}}}");
        }
    }
    services + &filters
}
