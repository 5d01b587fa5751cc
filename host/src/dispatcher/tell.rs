//! What the host's own log tells of a job.

use ays_core::job::{Failure, Job, Level, LogLine};
use tracing::{debug, error, info, warn};

/// How much of what one job logs the host's log repeats, in bytes, each line counted with [`LINE`] bytes beside its text.
/// The job's record has all of it.
const JOB: usize = 32 << 10;
const LINE: usize = 64;

/// How much of one line.
const LONGEST: usize = 4 << 10;

/// Repeats what a job logged, as far as it is not too much.
pub(super) fn log(job: &Job, logs: &[LogLine]) {
    let mut left = JOB;
    for (told, line) in logs.iter().enumerate() {
        let Some(room) = left.checked_sub(LINE).filter(|room| *room > 0) else {
            let rest = logs.len() - told;
            let id = job.id;
            return repeat(job, Level::Info, &format!("… {rest} more lines: `ays-host jobs logs {id}`"));
        };
        let text = line.message.as_str();
        let shown = text.get(..text.floor_char_boundary(LONGEST.min(room))).unwrap_or_default();
        if shown.len() < text.len() {
            let (rest, id) = (text.len() - shown.len(), job.id);
            repeat(job, line.level, &format!("{shown}… {rest} more bytes: `ays-host jobs logs {id}`"));
        } else {
            repeat(job, line.level, text);
        }
        left = room - shown.len();
    }
}

fn repeat(job: &Job, level: Level, text: &str) {
    let (service, action, id) = (job.service.as_str(), job.action.as_str(), job.id);
    match level {
        Level::Debug => debug!(target: "guest", service, action, job = %id, "{text}"),
        Level::Info => info!(target: "guest", service, action, job = %id, "{text}"),
        Level::Warn => warn!(target: "guest", service, action, job = %id, "{text}"),
        Level::Error => error!(target: "guest", service, action, job = %id, "{text}"),
    }
}

/// Tells that an attempt failed, and what becomes of the job.
pub(super) fn failure(job: &Job, failure: &Failure) {
    let (service, action, id) = (job.service.as_str(), job.action.as_str(), job.id);
    let Failure { kind, message, .. } = failure;
    if let Some(at) = job.retry_at {
        let after = at.since(job.finished_at.unwrap_or(at)).as_secs_f64();
        warn!(service, action, job = %id, kind = %kind, "attempt {} failed ({kind}): {message}; tried again in {after:.1} s", job.attempt);
    } else {
        error!(service, action, job = %id, kind = %kind, "failed for good after attempt {} ({kind}): {message}; `ays-host dead show {id}` tells more", job.attempt);
    }
}
