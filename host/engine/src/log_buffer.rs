//! Where a guest's log lines go: those it logs, and those it writes to standard output and error.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use ays_core::{
    job::{Level, LogLine},
    manifest::Limits,
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use crate::{Clock, breach::Breach};

/// The log of the present job; shared by the instance's state and its output streams.
#[derive(Clone)]
pub(crate) struct LogBuffer(Arc<Mutex<Lines>>);

struct Lines {
    clock: Arc<dyn Clock>,
    lines: Vec<LogLine>,
    /// Lines that have begun and not ended, of standard output and error.
    open: [(Level, Vec<u8>); 2],
    bytes: u64,
    limit: u64,
    most_lines: u64,
}

/// What a line costs beside its text, in bytes: its time and level in the job's record. Without it, empty lines would be
/// free.
const LINE: usize = 64;

/// How many bytes a text has in the job's record, which is JSON: a control character has six there.
fn stored(text: &[u8]) -> usize {
    let more = |byte: &u8| match byte {
        b'"' | b'\\' | b'\t' | b'\n' | b'\r' | 0x08 | 0x0c => 1,
        ..0x20 => 5,
        _ => 0,
    };
    text.len().saturating_add(text.iter().map(more).sum())
}

/// How the line begins that Rust's standard library writes to standard error after a panic's message. A guest has no
/// environment, and its backtrace is in the job's record already.
const BACKTRACE_HINT: &str = "note: run with `RUST_BACKTRACE=";

impl LogBuffer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let open = [(Level::Info, Vec::new()), (Level::Warn, Vec::new())];
        Self(Arc::new(Mutex::new(Lines {
            clock,
            lines: Vec::new(),
            open,
            bytes: 0,
            limit: 0,
            most_lines: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // A guest's log holds no invariant that a panic could have broken.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties it for the next job.
    pub(crate) fn begin(&self, limits: &Limits) {
        let mut lines = self.lock();
        lines.lines.clear();
        lines.open.iter_mut().for_each(|(_, open)| open.clear());
        lines.bytes = 0;
        lines.limit = limits.log_bytes;
        lines.most_lines = limits.log_lines;
    }

    /// Ends open lines and takes all.
    pub(crate) fn take(&self) -> Vec<LogLine> {
        let mut lines = self.lock();
        for level in [Level::Info, Level::Warn] {
            lines.end_line(level);
        }
        std::mem::take(&mut lines.lines)
    }

    /// Appends a line.
    pub(crate) fn line(&self, level: Level, message: String) -> wasmtime::Result<()> {
        let mut lines = self.lock();
        lines.count(stored(message.as_bytes()))?;
        lines.push(level, message)
    }

    /// The stream whose lines get this level: `Info` for standard output, `Warn` for standard error.
    pub(crate) fn stream(&self, level: Level) -> LogStream {
        LogStream { buffer: self.clone(), level }
    }
}

impl Lines {
    fn count(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes > self.limit {
            let what = format_args!(
                "logged {} bytes, as JSON and with {LINE} for each line beside its text",
                self.bytes
            );
            return Err(Breach::of("log_bytes", what, self.limit));
        }
        Ok(())
    }

    fn push(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.count(LINE)?;
        if self.lines.len() as u64 >= self.most_lines {
            let what = format_args!("logged {} lines", self.lines.len() + 1);
            return Err(Breach::of("log_lines", what, self.most_lines));
        }
        let time = self.clock.now();
        self.lines.push(LogLine { time, level, message });
        Ok(())
    }

    fn write(&mut self, level: Level, bytes: &[u8]) -> wasmtime::Result<()> {
        self.count(stored(bytes))?;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if let Some((_, open)) = self.open.iter_mut().find(|(of, _)| *of == level) {
                open.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            }
            if piece.ends_with(b"\n") {
                self.push_open(level)?;
            }
        }
        Ok(())
    }

    fn push_open(&mut self, level: Level) -> wasmtime::Result<()> {
        let Some((_, open)) = self.open.iter_mut().find(|(of, _)| *of == level) else { return Ok(()) };
        let line = std::mem::take(open);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let message = String::from_utf8_lossy(line).into_owned();
        if level == Level::Warn && message.starts_with(BACKTRACE_HINT) {
            return Ok(());
        }
        // What was no UTF-8 has become longer: each such byte has three now.
        self.count(stored(message.as_bytes()).saturating_sub(stored(line)))?;
        self.push(level, message)
    }

    fn end_line(&mut self, level: Level) {
        if self.open.iter().any(|(of, open)| *of == level && !open.is_empty()) {
            // The limit was kept to but for this line's own overhead; the job has ended, so nothing more can come.
            let _ = self.push_open(level);
        }
    }
}

/// Standard output or error of a guest.
pub(crate) struct LogStream {
    buffer: LogBuffer,
    level: Level,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.buffer.stream(self.level))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.buffer.stream(self.level))
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.buffer.lock().write(self.level, &bytes).map_err(StreamError::Trap)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.buffer.lock().write(self.level, bytes);
        Poll::Ready(written.map(|()| bytes.len()).map_err(|breach| io::Error::other(breach.to_string())))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ays_core::Timestamp;

    use super::*;

    struct NoClock;

    impl Clock for NoClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn what_is_no_utf8_counts_as_it_is_stored() {
        let log = LogBuffer::new(Arc::new(NoClock));
        let limits = Limits { log_bytes: 3000 + LINE as u64, ..Limits::default() };
        let written = |bytes: usize| {
            log.begin(&limits);
            let line = [vec![0xff; bytes], vec![b'\n']].concat();
            let written = log.lock().write(Level::Info, &line);
            written.map(|()| log.take())
        };
        let lines = written(999).expect("each of them has three bytes as a replacement character");
        assert_eq!(lines.iter().map(|line| line.message.len()).sum::<usize>(), 2997);
        assert!(written(1001).is_err());
    }
}
