//! A contestant's process, which says when it is ready, begins when told to, and ends when its input does.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use super::work::{PATIENCE, Result, because};

/// A running process. Killed when dropped.
pub(super) struct Worker {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Worker {
    /// Starts it.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut child =
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (to, lines) = channel();
        thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            lines.map_while(std::result::Result::ok).try_for_each(|line| to.send(line))
        });
        let (to, errors) = channel();
        thread::spawn(move || {
            let mut text = String::new();
            stderr.into_iter().for_each(|mut stderr| {
                let _ = stderr.read_to_string(&mut text);
            });
            to.send(text)
        });
        Ok(Self { child, lines, errors })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its output that fits.
    pub(super) fn line(&mut self, fits: impl Fn(&str) -> bool) -> Result<String> {
        let until = Instant::now() + PATIENCE;
        let mut last = String::new();
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if fits(&line) => return Ok(line),
                Ok(line) => last = line,
                Err(RecvTimeoutError::Timeout) => return Err(format!("it said nothing for {PATIENCE:?}")),
                Err(RecvTimeoutError::Disconnected) => {
                    let errors = self.errors.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
                    let why = errors.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or(&last);
                    return Err(format!("it ended: {why}"));
                }
            }
        }
    }

    /// Waits until it says `ready`.
    pub(super) fn ready(&mut self) -> Result<()> {
        self.line(|line| line == "ready").map(|_| ())
    }

    /// Tells it to begin.
    pub(super) fn begin(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().ok_or("its input is closed")?;
        input.write_all(b"go\n").map_err(because("telling it to begin"))
    }

    /// Ends its input, and waits for what it says then: a line of JSON.
    pub(super) fn end(&mut self) -> Result<serde_json::Value> {
        drop(self.child.stdin.take());
        let line = self.line(|line| line.starts_with('{'))?;
        serde_json::from_str(&line).map_err(because("reading what it noted"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
