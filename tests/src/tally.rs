//! Whether nothing was lost, nothing happened twice and all was in order: what `tally` services were sent, held against
//! their jobs and their data.
//!
//! A sender numbers what it sends to a service from 0, in a *stream* of its own. The order is promised for what it sent
//! one after the other, that is after the answer to the one before.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{Host, host::PATIENCE};

/// How many faults of a service are told.
const TOLD: usize = 10;

/// What was sent to services.
#[derive(Debug, Default)]
pub struct Ledger {
    services: BTreeMap<String, BTreeMap<String, Stream>>,
}

#[derive(Debug, Default)]
struct Stream {
    /// What was acknowledged, in order.
    sent: Vec<u64>,
    /// What was sent and not acknowledged: it may have come in, once and at any time.
    unsure: BTreeSet<u64>,
}

impl Ledger {
    /// This number was acknowledged. Of a stream, numbers come in ascending order.
    pub fn sent(&mut self, service: &str, stream: &str, number: u64) {
        self.stream(service, stream).sent.push(number);
    }

    /// This number was sent, and nobody said whether it came in.
    pub fn unsure(&mut self, service: &str, stream: &str, number: u64) {
        self.stream(service, stream).unsure.insert(number);
    }

    fn stream(&mut self, service: &str, stream: &str) -> &mut Stream {
        let streams = self.services.entry(service.to_owned()).or_default();
        streams.entry(stream.to_owned()).or_default()
    }

    /// Adds what another sender wrote down; its streams are its own.
    pub fn add(&mut self, other: Self) {
        for (service, streams) in other.services {
            self.services.entry(service).or_default().extend(streams);
        }
    }

    /// How many were acknowledged, over all services.
    pub fn acknowledged(&self) -> u64 {
        self.services.values().flat_map(BTreeMap::values).map(|stream| stream.sent.len() as u64).sum()
    }

    /// How many were sent and not acknowledged, over all services.
    pub fn unacknowledged(&self) -> u64 {
        self.services.values().flat_map(BTreeMap::values).map(|stream| stream.unsure.len() as u64).sum()
    }

    /// Waits until all that was sent is done, for as long as it goes on, or until nothing is left to do: [`check`](Self::check)
    /// says what is missing then.
    pub fn wait_until_done(&self, host: &Host, queued: impl Fn() -> u64) {
        let mut seen = None;
        let mut since = Instant::now();
        loop {
            let (_, ready) = host.get("/readyz");
            let counts: BTreeMap<String, u64> = host
                .list("/api/v1/services?actor=tally")
                .iter()
                .map(|service| (text(service, "key"), service["data"]["count"].as_u64().unwrap_or_default()))
                .collect();
            let behind: Vec<String> = self
                .services
                .iter()
                .filter_map(|(service, streams)| {
                    let sent: usize = streams.values().map(|stream| stream.sent.len()).sum();
                    let done = counts.get(service).copied().unwrap_or_default();
                    (done < sent as u64).then(|| format!("{service}: {done} of {sent}"))
                })
                .collect();
            let queued = queued();
            let idle = queued == 0 && ready["store"]["pending"] == 0;
            // What was never acknowledged has a moment to come in, and what is on its way to a mailbox a longer one.
            let moment = Duration::from_secs(if behind.is_empty() { 1 } else { 15 });
            let now = Some((counts, queued));
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if idle && since.elapsed() > moment {
                return;
            }
            if since.elapsed() > PATIENCE {
                let lines: Vec<_> = host.lines().into_iter().map(|line| line.text).collect();
                panic!(
                    "nothing has gone on for {PATIENCE:?}; {queued} entries are in the queue, readyz says {ready}, \
                     and {} services are behind: {}. The host's last lines:\n{}",
                    behind.len(),
                    behind.into_iter().take(TOLD).collect::<Vec<_>>().join(", "),
                    lines[lines.len().saturating_sub(50)..].join("\n")
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Holds it against what a host says was done. Panics with all that is wrong.
    pub fn check(&self, host: &Host) {
        let mut faults = Vec::new();
        for service in self.services.keys() {
            let jobs: Vec<Job> = host
                .list(&format!("/api/v1/jobs?service={service}&action=mark"))
                .iter()
                .map(Job::of)
                .collect();
            let (_, record) = host.get(&format!("/api/v1/services/{service}"));
            faults.extend(self.faults(service, jobs, &record["data"]));
        }
        let dead = host.list("/api/v1/dead");
        if let Some(letter) = dead.first() {
            faults.push(format!("{} dead letters; the last: {letter}", dead.len()));
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    /// What is wrong with a service's jobs and data.
    fn faults(&self, service: &str, mut jobs: Vec<Job>, data: &Value) -> Vec<String> {
        // Ids are given out in order of arrival.
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        let mut faults = Vec::new();
        for job in jobs.iter().filter(|job| job.state != "ok") {
            faults.push(format!("{job} is {}", job.state));
        }
        self.count(service, &jobs, &mut faults);
        self.order(service, &jobs, &mut faults);
        one_at_a_time(&jobs, &mut faults);
        memory(&jobs, data, &mut faults);
        let more = faults.len().saturating_sub(TOLD);
        faults.truncate(TOLD);
        if more > 0 {
            faults.push(format!("and {more} more"));
        }
        faults.into_iter().map(|fault| format!("{service}: {fault}")).collect()
    }

    /// One job for each that was acknowledged, at most one for each other that was sent, none besides.
    fn count(&self, service: &str, jobs: &[Job], faults: &mut Vec<String>) {
        let mut found = BTreeMap::<(&str, u64), Vec<&str>>::new();
        for job in jobs {
            found.entry((&job.stream, job.number)).or_default().push(&job.id);
        }
        for ((stream, number), ids) in &found {
            if ids.len() > 1 {
                faults.push(format!("doubled: {stream} {number} has the jobs {}", ids.join(", ")));
            }
        }
        let streams = self.services.get(service);
        for (name, stream) in streams.into_iter().flatten() {
            for number in stream.sent.iter().chain(&stream.unsure) {
                let was_found = found.remove(&(name.as_str(), *number)).is_some();
                if !was_found && !stream.unsure.contains(number) {
                    faults.push(format!("lost: {name} {number}"));
                }
            }
        }
        faults.extend(found.keys().map(|(stream, number)| format!("never sent: {stream} {number}")));
    }

    /// What was sent one after the other came in in that order.
    fn order(&self, service: &str, jobs: &[Job], faults: &mut Vec<String>) {
        let streams = self.services.get(service);
        let mut last = BTreeMap::<&str, &Job>::new();
        for job in jobs {
            let unsure = streams
                .and_then(|streams| streams.get(&job.stream))
                .is_none_or(|stream| stream.unsure.contains(&job.number));
            if unsure {
                continue;
            }
            if let Some(before) = last.insert(&job.stream, job)
                && before.number > job.number
            {
                faults.push(format!("out of order: {before} came before {job}"));
            }
        }
    }
}

/// A service's jobs ran one at a time, in order of arrival, over all hosts.
fn one_at_a_time(jobs: &[Job], faults: &mut Vec<String>) {
    faults.extend(
        jobs.iter()
            .filter(|job| job.started_at > job.finished_at)
            .map(|job| format!("{job} ended before it began")),
    );
    for pair in jobs.windows(2) {
        let [before, after] = pair else { continue };
        if after.started_at < before.finished_at {
            faults.push(format!("{after} did not wait for {before}"));
        }
    }
}

/// The service's data are what these jobs, one after the other, make of them.
fn memory(jobs: &[Job], data: &Value, faults: &mut Vec<String>) {
    if data["count"] != jobs.len() {
        faults.push(format!("its count is {}, and it has {} jobs", data["count"], jobs.len()));
    }
    let expected = jobs.iter().fold(0, |before, job| chain(before, &job.mark()));
    if data["chain"] != expected {
        faults.push(format!(
            "its data are not what its jobs make of them, one after the other: the chain is {}, not {expected}; the \
             last ones it knows: {}",
            data["chain"], data["recent"]
        ));
    }
}

/// As `tally` links what it is given.
fn chain(before: u64, mark: &str) -> u64 {
    let bytes = before.to_le_bytes().into_iter().chain(mark.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash & ((1 << 53) - 1)
}

/// What of a job's record counts here. Times are texts of one form, which sort as the times do.
#[derive(Clone, Debug)]
struct Job {
    id: String,
    state: String,
    stream: String,
    number: u64,
    started_at: String,
    finished_at: String,
}

impl Job {
    fn of(record: &Value) -> Self {
        Self {
            id: text(record, "id"),
            state: text(record, "state"),
            stream: record["args"][0].as_str().unwrap_or_else(|| panic!("no stream: {record}")).to_owned(),
            number: record["args"][1].as_u64().unwrap_or_else(|| panic!("no number: {record}")),
            // A job that has not ended has not both, which its state tells.
            started_at: record["started_at"].as_str().unwrap_or_default().to_owned(),
            finished_at: record["finished_at"].as_str().unwrap_or_default().to_owned(),
        }
    }

    fn mark(&self) -> String {
        format!("{} {}", self.stream, self.number)
    }
}

impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, stream, number, started_at, finished_at, .. } = self;
        write!(f, "{stream} {number} (job {id}, {started_at} to {finished_at})")
    }
}

fn text(record: &Value, name: &str) -> String {
    record[name].as_str().unwrap_or_else(|| panic!("no {name}: {record}")).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SERVICE: &str = "tally__s0";

    /// The queue sent 0 to 4, all acknowledged; HTTP sent 0 to 2, of which 1 was not.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        (0..5).for_each(|number| ledger.sent(SERVICE, "queue", number));
        ledger.sent(SERVICE, "http", 0);
        ledger.unsure(SERVICE, "http", 1);
        ledger.sent(SERVICE, "http", 2);
        ledger
    }

    /// Jobs of 10 ms, each beginning when the one before has ended.
    fn jobs(marks: &[(&str, u64)]) -> Vec<Job> {
        let time = |place: usize| format!("2026-01-01T00:00:00.{:03}Z", place * 10);
        let job = |(place, (stream, number)): (usize, &(&str, u64))| Job {
            id: format!("{place:026}"),
            state: "ok".into(),
            stream: (*stream).into(),
            number: *number,
            started_at: time(place),
            finished_at: time(place + 1),
        };
        marks.iter().enumerate().map(job).collect()
    }

    fn data(jobs: &[Job]) -> Value {
        let chain = jobs.iter().fold(0, |before, job| chain(before, &job.mark()));
        json!({"count": jobs.len(), "chain": chain, "recent": []})
    }

    const GOOD: [(&str, u64); 7] =
        [("queue", 0), ("http", 0), ("queue", 1), ("http", 2), ("queue", 2), ("queue", 3), ("queue", 4)];

    fn faults(marks: &[(&str, u64)]) -> String {
        let jobs = jobs(marks);
        let data = data(&jobs);
        ledger().faults(SERVICE, jobs, &data).join("\n")
    }

    fn without(place: usize) -> Vec<(&'static str, u64)> {
        let mut marks = GOOD.to_vec();
        marks.remove(place);
        marks
    }

    fn with(place: usize, mark: (&'static str, u64)) -> Vec<(&'static str, u64)> {
        let mut marks = GOOD.to_vec();
        marks.insert(place, mark);
        marks
    }

    #[test]
    fn what_was_not_acknowledged_may_be_missing_or_come_at_any_place() {
        assert_eq!(faults(&GOOD), "");
        for place in 0..=GOOD.len() {
            assert_eq!(faults(&with(place, ("http", 1))), "", "at {place}");
        }
    }

    #[test]
    fn each_job_that_is_missing_doubled_misplaced_or_too_much_is_told() {
        for (place, (stream, number)) in GOOD.iter().enumerate() {
            assert_eq!(faults(&without(place)), format!("{SERVICE}: lost: {stream} {number}"));
            assert!(
                faults(&with(place, (stream, *number))).contains(&format!("doubled: {stream} {number} has"))
            );
        }
        let mut swapped = GOOD.to_vec();
        swapped.swap(0, 2);
        assert!(faults(&swapped).contains("out of order: queue 1 (job "), "{}", faults(&swapped));
        let twice_unsure = with(0, ("http", 1));
        assert!(faults(&[twice_unsure, vec![("http", 1)]].concat()).contains("doubled: http 1 has"));
        assert_eq!(faults(&with(7, ("queue", 5))), format!("{SERVICE}: never sent: queue 5"));
        assert_eq!(faults(&with(7, ("else", 0))), format!("{SERVICE}: never sent: else 0"));
        assert!(faults(&[]).contains("lost: http 0"));
    }

    #[test]
    fn jobs_that_overlap_or_did_not_end_well_are_told() {
        type Change = fn(&mut Vec<Job>);
        let table: [(Change, &str); 4] = [
            (|jobs| jobs[3].started_at = "2026-01-01T00:00:00.029Z".into(), "did not wait for queue 1 (job"),
            (|jobs| jobs[3].finished_at = "2026-01-01T00:00:00.041Z".into(), "did not wait for http 2 (job"),
            (|jobs| jobs[6].finished_at = String::new(), "ended before it began"),
            (|jobs| jobs[6].state = "error".into(), "is error"),
        ];
        for (change, told) in table {
            let mut jobs = jobs(&GOOD);
            let data = data(&jobs);
            change(&mut jobs);
            let faults = ledger().faults(SERVICE, jobs, &data);
            assert!(faults.len() == 1 && faults[0].contains(told), "{told}: {faults:?}");
        }
    }

    #[test]
    fn data_that_a_turn_is_missing_from_or_twice_in_are_told() {
        for marks in [without(3), with(3, GOOD[3]), vec![GOOD[2], GOOD[1], GOOD[0]]] {
            let faults = ledger().faults(SERVICE, jobs(&GOOD), &data(&jobs(&marks)));
            assert!(faults.iter().any(|fault| fault.contains("the chain is")), "{faults:?}");
        }
    }
}
