//! Which occurrences of a schedule become jobs, and when.

use serde::{Deserialize, Serialize};

use super::{Missed, Recurring};
use crate::{
    JsonText, ServiceKey, Timestamp,
    job::{Cause, NewJob},
};

/// How many missed occurrences one call of [`Schedule::due`] gives at most, with [`Missed::All`].
pub const MAX_AT_ONCE: usize = 1000;

/// The longest time over which first occurrences are spread, and the longest lateness that [`Missed::Skip`] takes for on
/// time, in milliseconds.
const SPREAD_MS: i64 = 30_000;
const GRACE_MS: i64 = 10_000;

/// A recurring action of a service, and how far it has come. Its JSON is what the API shows.
///
/// Occurrences of a fixed period lie at `anchor + n × period`, so they do not drift; each is identified by its due
/// time and given at most once, since none comes at or before `last_due`. When the clock is set back, the schedule waits until
/// `next_due` comes round again; when it is set forward, what was jumped over counts as missed.
///
/// Jobs of one schedule do not pile up: unless the policy is [`Missed::All`], an occurrence that falls due while the
/// job of the one before has not ended counts as missed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// On which service.
    pub service: ServiceKey,
    /// Which action.
    pub action: String,
    /// How it recurs.
    #[serde(flatten)]
    pub recurring: Recurring,
    /// Actions of the service that must have ended well before the first occurrence. While there are any, nothing is
    /// due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// What a fixed period counts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Timestamp>,
    /// The next occurrence; none while it waits, or when a cron expression has no further one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
    /// The last occurrence that got a job or counts as missed: none at or before it comes any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_due: Option<Timestamp>,
    /// How many of its jobs have not ended.
    #[serde(default)]
    pub outstanding: u32,
    /// With [`Missed::One`]: the occurrence that gets a job as soon as the outstanding one has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owed: Option<Timestamp>,
    /// How many occurrences were missed and got no job of their own.
    #[serde(default)]
    pub missed_count: u64,
}

impl Schedule {
    /// A schedule that begins now, or as soon as the actions in `waits_for` have ended well.
    pub fn new(
        service: ServiceKey,
        action: String,
        recurring: Recurring,
        waits_for: Vec<String>,
        now: Timestamp,
    ) -> Self {
        let mut schedule = Self {
            service,
            action,
            recurring,
            waits_for,
            anchor: None,
            next_due: None,
            last_due: None,
            outstanding: 0,
            owed: None,
            missed_count: 0,
        };
        schedule.begin(now);
        schedule
    }

    /// Takes over another way to recur. Returns whether anything changed; the same again changes nothing, so that
    /// applying a blueprint again does not move its schedules.
    pub fn change(&mut self, recurring: Recurring, now: Timestamp) -> bool {
        if self.recurring == recurring {
            return false;
        }
        let moved = self.recurring.period != recurring.period;
        self.recurring = recurring;
        if self.recurring.missed == Missed::Skip && self.owed.take().is_some() {
            self.missed_count += 1;
        }
        if moved {
            self.begin(now);
        }
        true
    }

    /// An action of the service has ended well. Returns whether that changed anything.
    pub fn action_done(&mut self, action: &str, now: Timestamp) -> bool {
        let before = self.waits_for.len();
        self.waits_for.retain(|awaited| awaited != action);
        if self.waits_for.len() == before {
            return false;
        }
        self.begin(now);
        true
    }

    /// First occurrences are spread, so that many services created together are not all due together: a schedule of a
    /// fixed period begins up to one period (at most 30 s) later, always by the same share for the same service.
    fn begin(&mut self, now: Timestamp) {
        if !self.waits_for.is_empty() {
            return;
        }
        let anchor = match self.recurring.period.fixed() {
            Some(period) => {
                let span = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).min(SPREAD_MS);
                let share = fnv1a(self.service.as_str(), &self.action);
                let phase = i64::try_from(share % span.unsigned_abs().max(1)).unwrap_or(0);
                Timestamp::from_millis(now.millis().saturating_add(phase))
            }
            None => now,
        };
        self.anchor = Some(anchor);
        let just_before = Timestamp::from_millis(now.millis() - 1);
        // The clock may have been set back since the last occurrence; none is given twice.
        let from = self.last_due.map_or(just_before, |last| last.max(just_before));
        self.next_due = self.recurring.period.next(anchor, from);
    }

    /// The occurrences that get a job now, oldest first. With [`Missed::All`] there may be more: call again while
    /// [`next_due`](Self::next_due) is not after `now`.
    pub fn due(&mut self, now: Timestamp) -> Vec<NewJob> {
        let (Some(anchor), Some(first)) = (self.anchor, self.next_due) else { return Vec::new() };
        if first > now {
            return Vec::new();
        }
        let period = &self.recurring.period;
        if self.recurring.missed == Missed::All {
            // One may be owed from before the policy was changed.
            let mut jobs: Vec<_> = self.owed.iter().map(|owed| self.occurrence(*owed, Some(first))).collect();
            let (mut last, mut next) = (None, Some(first));
            while let Some(due) = next.filter(|due| *due <= now && jobs.len() < MAX_AT_ONCE) {
                next = period.next(anchor, due);
                jobs.push(self.occurrence(due, next));
                last = Some(due);
            }
            self.owed = None;
            self.last_due = last;
            self.next_due = next;
            self.outstanding = self.outstanding.saturating_add(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
            return jobs;
        }
        let latest = period.latest(anchor, first, now).unwrap_or(first);
        let next = period.next(anchor, latest);
        self.last_due = Some(latest);
        self.next_due = next;
        if latest > first {
            self.missed_count += self.count_between(anchor, first, latest);
        }
        let late_ms = now.millis() - latest.millis();
        let grace_ms = next.map_or(GRACE_MS, |next| ((next.millis() - latest.millis()) / 2).min(GRACE_MS));
        if self.recurring.missed == Missed::Skip && (self.outstanding > 0 || late_ms > grace_ms) {
            self.missed_count += 1;
            return Vec::new();
        }
        if self.outstanding > 0 {
            if self.owed.replace(latest).is_some() {
                self.missed_count += 1;
            }
            return Vec::new();
        }
        self.outstanding = 1;
        vec![self.occurrence(latest, next)]
    }

    /// A job of this schedule has ended for good. Returns the job that was owed, if any.
    pub fn settled(&mut self) -> Option<NewJob> {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding > 0 {
            return None;
        }
        let owed = self.owed.take()?;
        self.outstanding = 1;
        Some(self.occurrence(owed, self.next_due))
    }

    fn occurrence(&self, due: Timestamp, next: Option<Timestamp>) -> NewJob {
        NewJob {
            service: self.service.clone(),
            action: self.action.clone(),
            args: JsonText::empty_list(),
            cause: Cause::Schedule { due_at: due, next_at: next },
            patch: None,
        }
    }

    /// How many occurrences lie in `first..latest`; counted up to a thousand for cron expressions.
    fn count_between(&self, anchor: Timestamp, first: Timestamp, latest: Timestamp) -> u64 {
        if let Some(period) = self.recurring.period.fixed() {
            let ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1);
            return (latest.millis() - first.millis()).unsigned_abs() / ms;
        }
        let occurrences = std::iter::successors(Some(first), |due| self.recurring.period.next(anchor, *due));
        occurrences.take_while(|due| *due < latest).take(1000).count() as u64
    }
}

/// The 64-bit FNV-1a hash: the same on every host and in every release, unlike the standard library's.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn fnv1a(service: &str, action: &str) -> u64 {
    let bytes = service.bytes().chain([b'/']).chain(action.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
