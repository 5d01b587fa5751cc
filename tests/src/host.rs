//! The real binary.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test gives up. Long, since the machine may be busy; nothing waits that long
/// when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a host writes before its address without `http://`.
const LISTENING: &str = "listening on http://";

/// The `ays-host` that cargo built beside this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its file");
    let profile = test.ancestors().find(|folder| folder.join("ays-host").is_file());
    profile.map(|folder| folder.join("ays-host")).unwrap_or_else(|| {
        panic!(
            "there is no ays-host above {}; `cargo build` makes it, as `cargo test --workspace` does",
            test.display()
        )
    })
}

/// A line that the host wrote, and when.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// The line.
    pub text: String,
}

#[derive(Default)]
struct Written {
    lines: Mutex<(Vec<Line>, bool)>,
    more: Condvar,
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, (Vec<Line>, bool)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running `ays-host serve`. Killed when dropped.
pub struct Host {
    child: Child,
    written: Arc<Written>,
    url: String,
    /// Where its store and code cache are, if this test's own.
    _folder: Option<Arc<TempDir>>,
}

/// How to start a host.
#[derive(Clone)]
pub struct Start {
    folder: Arc<TempDir>,
    actors: PathBuf,
    store: Option<String>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Start {
    /// With these actors, and a store in a new temporary folder.
    pub fn new(actors: &Path) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("cannot make a temporary folder"));
        Self { folder, actors: actors.into(), store: None, args: Vec::new(), variables: Vec::new() }
    }

    /// With the store at this address instead.
    #[must_use]
    pub fn store(mut self, address: impl Into<String>) -> Self {
        self.store = Some(address.into());
        self
    }

    /// With a further argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// With a blueprint of this text.
    #[must_use]
    pub fn blueprint(self, text: &str) -> Self {
        let file = self.path("blueprint.yaml");
        std::fs::write(&file, text).expect("cannot write a blueprint");
        self.arg(file.display().to_string())
    }

    /// A path in the temporary folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, with everything but what `start` captures.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        let cache = self.actors.parent().expect("actors lie in a folder").join("code");
        let store = self.store.clone().unwrap_or_else(|| format!("file:{}", self.path("state").display()));
        command
            .arg("serve")
            .args(&self.args)
            .arg("--actors")
            .arg(&self.actors)
            .arg("--store")
            .arg(store)
            .arg("--code-cache")
            .arg(cache)
            .args(["--listen", "127.0.0.1:0"])
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts, and waits until it is ready.
    pub fn start(&self) -> Host {
        let host = self.launch();
        host.wait_for("is ready", |line| line.ends_with("ready"));
        host
    }

    /// Starts, and waits only until it listens.
    pub fn launch(&self) -> Host {
        let mut host = self.spawn();
        host.wait_for("listens", |line| line.contains(LISTENING));
        host.listens();
        host
    }

    /// Starts, and waits for nothing: the host has no address before [`Host::listens`].
    pub fn spawn(&self) -> Host {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cannot run ays-host");
        let written = Arc::new(Written::default());
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let to = written.clone();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                to.lock().0.push(Line { at: Instant::now(), text: line });
                to.more.notify_all();
            }
            let mut rest = String::new();
            let _ = stderr.read_to_string(&mut rest);
            let mut lines = to.lock();
            lines.0.extend(rest.lines().map(|text| Line { at: Instant::now(), text: text.to_owned() }));
            lines.1 = true;
            to.more.notify_all();
        });
        Host { child, written, url: String::new(), _folder: Some(self.folder.clone()) }
    }
}

impl Host {
    /// Its address, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it listens; from then on it has an address.
    pub fn listens(&mut self) -> bool {
        if self.url.is_empty()
            && let Some(line) = self.lines_with(LISTENING).first()
        {
            self.url =
                line.text.split(LISTENING).nth(1).map(|rest| format!("http://{rest}")).expect("just found");
        }
        !self.url.is_empty()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("cannot wait for the host")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn lines(&self) -> Vec<Line> {
        self.written.lock().0.clone()
    }

    /// Lines that have this text in them.
    pub fn lines_with(&self, text: &str) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.text.contains(text)).collect()
    }

    /// Waits for a line, and returns the first.
    pub fn wait_for(&self, what: &str, found: impl Fn(&str) -> bool) -> Line {
        self.wait_for_nth(1, what, found)
    }

    /// Waits for the nth such line, from 1.
    pub fn wait_for_nth(&self, nth: usize, what: &str, found: impl Fn(&str) -> bool) -> Line {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.written.lock();
        loop {
            if let Some(line) = lines.0.iter().filter(|line| found(&line.text)).nth(nth - 1) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            let text: Vec<_> = lines.0.iter().map(|line| line.text.as_str()).collect();
            assert!(!lines.1, "the host ended before it {what}:\n{}", text.join("\n"));
            assert!(
                !left.is_zero(),
                "{PATIENCE:?} have passed without: the host {what}:\n{}",
                text.join("\n")
            );
            lines = self.written.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// GET: the status and the JSON.
    pub fn get(&self, path: &str) -> (u16, Value) {
        answer(agent().get(format!("{}{path}", self.url)).call())
    }

    /// POST: the status and the JSON.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(agent().post(format!("{}{path}", self.url)).send_json(body))
    }

    /// Uploads a component: what `actors upload` does, without the process of the command.
    ///
    /// # Errors
    /// If the host hangs up before it has read all, as it does when a component is too large.
    pub fn upload(&self, component: &[u8]) -> Result<(u16, Value), ureq::Error> {
        read(agent().post(format!("{}/api/v1/actors", self.url)).send(component)?)
    }

    /// Runs an action on a service, and returns its job once it has been tried.
    pub fn run(&self, service: &str, action: &str, args: &Value) -> Value {
        let ask = json!({"action": action, "service": service, "args": args, "force": true});
        let (status, run) = self.post("/api/v1/run", &ask);
        assert_eq!(status, 202, "{run}");
        self.until(&format!("{action} has ended"), |host| {
            let jobs = host.list(&format!("/api/v1/jobs?service={service}&action={action}&cause=run"));
            let tried = |job: &Value| ["ok", "error", "retrying"].iter().any(|state| job["state"] == *state);
            jobs.into_iter().find(|job| job["cause"]["id"] == run["id"] && tried(job))
        })
    }

    /// All items of a list, over all pages.
    pub fn list(&self, path: &str) -> Vec<Value> {
        let join = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = self.get(&format!("{path}{join}limit=1000{cursor}"));
            assert_eq!(status, 200, "{path}: {page}");
            items.extend(page["items"].as_array().expect("a page has items").iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Asks again and again until the answer is there.
    pub fn until<T>(&self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ask(self) {
                return found;
            }
            if Instant::now() > until {
                let text: Vec<_> = self.lines().into_iter().map(|line| line.text).collect();
                let tail = text.len().saturating_sub(50);
                panic!(
                    "{PATIENCE:?} have passed without: {what}. The host's last lines:\n{}",
                    text[tail..].join("\n")
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs another command of the binary against this host.
    pub fn cli(&self, args: &[&str]) -> Output {
        Command::new(binary()).args(args).env("AYS_HOST", &self.url).output().expect("cannot run ays-host")
    }

    /// The same; it must succeed. Its standard output.
    pub fn cli_ok(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it writes UTF-8")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("cannot signal the host");
    }

    /// `kill -9`.
    pub fn kill9(mut self) {
        self.child.kill().expect("cannot kill the host");
        self.child.wait().expect("cannot wait for the host");
    }

    /// SIGTERM; waits for the end.
    pub fn terminate(mut self) -> (ExitStatus, Vec<Line>) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait();
        (status, self.lines())
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("cannot wait for the host") {
                let mut lines = self.written.lock();
                while !lines.1 {
                    lines = self.written.more.wait(lines).unwrap_or_else(PoisonError::into_inner);
                }
                return status;
            }
            assert!(Instant::now() < until, "the host did not end within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why there is no answer from a host that may be gone.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nobody listens there: nothing was sent.
    Unsent,
    /// It may have been received, and may be so yet.
    Unsure(ureq::Error),
}

/// POST to a host that may be stopped or killed meanwhile: the status and the JSON.
///
/// # Errors
/// If there is no answer within that time.
pub fn try_post(url: &str, path: &str, body: &Value, within: Duration) -> Result<(u16, Value), NoAnswer> {
    let response = agent_within(within).post(format!("{url}{path}")).send_json(body);
    response.and_then(read).map_err(|error| match error {
        ureq::Error::ConnectionFailed => NoAnswer::Unsent,
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => NoAnswer::Unsent,
        error => NoAnswer::Unsure(error),
    })
}

fn agent() -> ureq::Agent {
    agent_within(PATIENCE)
}

fn agent_within(time: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(time)).build().into()
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    response.and_then(read).expect("the host answers")
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<(u16, Value), ureq::Error> {
    let text = response.body_mut().with_config().limit(256 << 20).read_to_string()?;
    Ok((response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
