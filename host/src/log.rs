//! The host's log: lines that a person can follow, or JSON.
//!
//! A line of text is time, level, what it is about, message:
//!
//! ```text
//! 12:04:31.502 INFO  actproducer__p1 send_message  Sending message hello prince
//! ```

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, PoisonError},
};

use clap::ValueEnum;
use indicatif::ProgressBar;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::clock;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// Begins to log to standard output. `filter` is as `RUST_LOG` has it: `info`, `warn,guest=debug`, …
///
/// # Errors
/// If the filter is not one, or logging has begun already.
///
/// Lines are written by a thread of their own: a reader that stops reading, as a pager does, must not stop the host.
/// When 32 768 lines wait for it, further ones are left out. Dropping what this returns writes those that wait.
pub fn begin(format: Format, filter: &str) -> anyhow::Result<WorkerGuard> {
    // The database tells of every file it makes; who wants to know says so after these.
    let filter = EnvFilter::try_new(format!("fjall=warn,lsm_tree=warn,{filter}")).map_err(|e| {
        anyhow::anyhow!("the log filter `{filter}` is not one: {e}; `info` or `warn,guest=debug` are")
    })?;
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUED_LINES).lossy(true).finish(BesideBar);
    // An error of writing the log has nowhere to go: standard error may be the same closed pipe.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    let begun = match format {
        Format::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
        Format::Text => {
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.event_format(Lines { colour }).try_init()
        }
    };
    begun.map(|()| guard).map_err(|e| anyhow::anyhow!("cannot log: {e}"))
}

/// The progress bar that is on the terminal, if one is.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A progress bar that makes way for log lines, until this is dropped; then it is gone.
#[derive(Debug)]
pub struct Shown(pub ProgressBar);

impl Shown {
    /// Shows a bar. Only one can be shown at a time.
    pub fn new(bar: ProgressBar) -> Self {
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        Self(bar)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        BAR.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.0.finish_and_clear();
    }
}

/// Standard output. A bar that stands where the next line goes is drawn anew below it.
struct BesideBar;

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &*BAR.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(|| io::stdout().write(bytes)),
            None => io::stdout().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// How many lines may wait for whoever reads the log.
const QUEUED_LINES: usize = 32_768;

/// A text with its control characters spelled out, but for tabs: what an actor or a client wrote must not be able to
/// paint the terminal, or to look like several lines.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        out.extend(c.escape_default());
        rest = from.get(c.len_utf8()..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The text format.
struct Lines {
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let level = *event.metadata().level();
        let guest = event.metadata().target() == "guest";
        let time = clock::now().to_string();
        // RFC 3339 in UTC: `2026-01-31T12:04:31.502Z`.
        let time = time.get(11..23).unwrap_or(&time);
        self.paint(&mut out, DIM, time)?;
        let (colour, name) = match level {
            Level::ERROR => (RED, "ERROR"),
            Level::WARN => (YELLOW, "WARN "),
            Level::INFO => (GREEN, "INFO "),
            Level::DEBUG => (DIM, "DEBUG"),
            Level::TRACE => (DIM, "TRACE"),
        };
        out.write_char(' ')?;
        self.paint(&mut out, colour, name)?;
        out.write_char(' ')?;
        if let Some(service) = &line.service {
            self.paint(&mut out, CYAN, service)?;
            out.write_char(' ')?;
        }
        if let Some(action) = &line.action {
            self.paint(&mut out, if guest { BLUE } else { DIM }, action)?;
            out.write_str("  ")?;
        }
        out.write_str(&line.message)?;
        if let Some(job) = line.job.filter(|_| guest) {
            out.write_str("  ")?;
            self.paint(&mut out, DIM, &job)?;
        }
        out.write_char('\n')
    }
}

const DIM: &str = "2";
const RED: &str = "1;31";
const YELLOW: &str = "33";
const GREEN: &str = "32";
const BLUE: &str = "34";
const CYAN: &str = "36";

impl Lines {
    fn paint(&self, out: &mut Writer<'_>, colour: &str, text: &str) -> fmt::Result {
        if self.colour { write!(out, "\x1b[{colour}m{text}\x1b[0m") } else { out.write_str(text) }
    }
}

/// The fields that a line of text shows; others are in the message already.
#[derive(Default)]
struct Line {
    message: String,
    service: Option<String>,
    action: Option<String>,
    job: Option<String>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }
}

impl Line {
    fn put(&mut self, field: &Field, value: String) {
        let value = plain(&value);
        match field.name() {
            "message" => self.message = value,
            "service" => self.service = Some(value),
            "action" => self.action = Some(value),
            "job" => self.job = Some(value),
            _ => {}
        }
    }
}
