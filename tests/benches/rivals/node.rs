//! Job queues of node: BullMQ and GroupMQ.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    meter::Meter,
    work::{RATE, Result, SERVICES, WARM_UP, because},
    worker::Worker,
};

/// A library, and a folder where it is installed.
#[derive(Clone, Debug)]
pub(super) struct Library {
    name: &'static str,
    folder: PathBuf,
}

/// How its workers are set up: what gives it the best figures is searched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    /// Processes.
    pub(super) processes: usize,
    /// Jobs at a time, over all processes.
    pub(super) concurrency: usize,
    /// Whether commands of the same moment share a round trip (ioredis' `enableAutoPipelining`).
    pub(super) pipelining: bool,
}

impl std::fmt::Display for Tuning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let processes = if self.processes == 1 { "process" } else { "processes" };
        let jobs = if self.concurrency == 1 { "job" } else { "jobs" };
        write!(f, "{} {processes}, {} {jobs} at a time", self.processes, self.concurrency)?;
        f.write_str(if self.pipelining { ", pipelining" } else { "" })
    }
}

/// Installs the libraries of `package-lock.json` into `folder`, unless they are there.
///
/// # Errors
/// Without npm and node, or if they cannot be loaded down.
pub(super) fn install(folder: &Path) -> Result<()> {
    for program in ["npm", "node"] {
        let found =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Err(format!("{program} is not installed"));
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rivals");
    let lock = fs::read(source.join("package-lock.json")).map_err(because("reading package-lock.json"))?;
    let installed = folder.join("node_modules").is_dir()
        && fs::read(folder.join("package-lock.json")).is_ok_and(|there| there == lock);
    fs::create_dir_all(folder).map_err(because("making a folder in target"))?;
    for file in ["bullmq.js", "groupmq.js", "run.js", "package.json"] {
        fs::copy(source.join(file), folder.join(file)).map_err(|error| format!("copying {file}: {error}"))?;
    }
    if !installed {
        // The lock file comes last, so that what was broken off is begun again.
        let _ = fs::remove_dir_all(folder.join("node_modules"));
        fs::write(folder.join("package-lock.json"), &lock).map_err(because("copying package-lock.json"))?;
        let output = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder)
            .output()
            .map_err(because("running npm ci"))?;
        if !output.status.success() {
            let _ = fs::remove_dir_all(folder.join("node_modules"));
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("npm ci failed: {}", said.lines().next().unwrap_or_default()));
        }
    }
    Ok(())
}

impl Library {
    pub(super) fn new(name: &'static str, folder: &Path) -> Self {
        Self { name, folder: folder.into() }
    }

    /// Its name in the registry.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Its version, as installed.
    pub(super) fn version(&self) -> Result<String> {
        let file = self.folder.join("node_modules").join(self.name).join("package.json");
        let text = fs::read_to_string(file).map_err(because("reading its package.json"))?;
        let package: Value = serde_json::from_str(&text).map_err(because("reading its package.json"))?;
        Ok(package["version"].as_str().unwrap_or("?").into())
    }

    /// Adds jobs. The key of the set that finished jobs come into.
    pub(super) fn fill(&self, meter: &Meter, events: usize) -> Result<String> {
        let options = json!({ "url": meter.url(), "services": SERVICES, "events": events });
        finished(&self.process("fill", &options)?.end()?)
    }

    /// Starts workers that are ready to count, or to note times, and do not run yet.
    pub(super) fn workers(&self, meter: &Meter, tuning: Tuning, timing: bool) -> Result<Vec<Worker>> {
        let options = json!({
            "url": meter.url(),
            "services": SERVICES,
            "concurrency": tuning.concurrency.div_ceil(tuning.processes),
            "pipelining": tuning.pipelining,
        });
        let start = |_| {
            let mut worker = self.process(if timing { "time" } else { "count" }, &options)?;
            worker.ready()?;
            Ok(worker)
        };
        (0..tuning.processes).map(start).collect()
    }

    /// Adds a job at a time at [`RATE`] for so many seconds. The jobs that were added, and the key of the finished.
    pub(super) fn push(&self, meter: &Meter, seconds: u64) -> Result<(usize, String)> {
        let seconds = seconds + WARM_UP.as_secs();
        let options = json!({ "url": meter.url(), "services": SERVICES, "rate": RATE, "seconds": seconds });
        let mut producer = self.process("push", &options)?;
        producer.ready()?;
        producer.begin()?;
        let key = finished(&producer.end()?)?;
        Ok((seconds as usize * RATE + 1, key))
    }

    fn process(&self, task: &str, options: &Value) -> Result<Worker> {
        let script = self.folder.join("run.js");
        Worker::start(Command::new("node").arg(script).args([self.name, task]).arg(options.to_string()))
    }
}

fn finished(said: &Value) -> Result<String> {
    said["finished"].as_str().map(Into::into).ok_or_else(|| "it did not say where finished jobs are".into())
}
