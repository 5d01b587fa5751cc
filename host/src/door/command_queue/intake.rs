//! Entries become batches for the store.

use ays_core::command::{self, Command};
use ays_store::{Batch, Claim, NewDeadLetter};

use super::claims::Claimed;

/// Reads the entries of a claim that come after number `accepted`, into batches that are to be accepted one after the
/// other. Each batch carries the numbers of its entries, so a claim of which only the first batches were accepted goes on
/// where it stopped.
///
/// A batch's events are accepted before its jobs. To keep the queue's order, a batch ends where an event comes after a
/// job.
pub(super) fn batches(claimed: Claimed, accepted: u64, door: &str, limit_bytes: usize) -> Vec<Batch> {
    let mut done = Vec::new();
    let mut batch = Batch::default();
    let mut after = accepted;
    for (number, entry) in (claimed.first..).zip(claimed.entries) {
        if number <= accepted {
            continue;
        }
        let command = command::parse(&entry, limit_bytes);
        if matches!(command, Ok(Command::Event(_))) && !batch.jobs.is_empty() {
            after = batch.claim.as_ref().map_or(after, |claim| claim.last);
            done.push(std::mem::take(&mut batch));
        }
        match command {
            Ok(Command::Event(event)) => batch.events.push(event),
            Ok(Command::Execute(job)) => batch.jobs.push(job),
            Err(reason) => batch.dead.push(NewDeadLetter { door: "queue".into(), reason, raw: entry }),
        }
        batch.claim = Some(Claim { door: door.into(), after, last: number });
    }
    if batch.claim.is_some() {
        done.push(batch);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter an entry: `e` an event, `j` a job, `x` neither.
    fn read(first: u64, accepted: u64, entries: &str) -> Vec<(String, u64)> {
        let entry = |kind| match kind {
            'e' => r#"{"command":"event","event":"e"}"#.into(),
            'j' => r#"{"command":"execute","service_key":"a__b","action":"c"}"#.into(),
            _ => b"x".to_vec(),
        };
        let claimed = Claimed { first, entries: entries.chars().map(entry).collect() };
        batches(claimed, accepted, "door", 1000)
            .into_iter()
            .map(|batch| {
                let kinds = [("e", batch.events.len()), ("j", batch.jobs.len()), ("x", batch.dead.len())];
                (kinds.map(|(kind, count)| kind.repeat(count)).concat(), batch.claim.unwrap().last)
            })
            .collect()
    }

    #[test]
    fn a_batch_ends_where_an_event_follows_a_job_and_carries_the_number_of_its_last_entry() {
        type Row = (u64, u64, &'static str, &'static [(&'static str, u64)]);
        let table: [Row; 8] = [
            (1, 0, "", &[]),
            (1, 0, "eee", &[("eee", 3)]),
            (1, 0, "eejj", &[("eejj", 4)]),
            (7, 6, "jeeje", &[("j", 7), ("eej", 10), ("e", 11)]),
            (1, 0, "exjxxe", &[("ejxxx", 5), ("e", 6)]),
            (7, 7, "jeeje", &[("eej", 10), ("e", 11)]),
            (7, 10, "jeeje", &[("e", 11)]),
            (7, 11, "jeeje", &[]),
        ];
        for (first, accepted, entries, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|(kinds, number)| (kinds.to_string(), *number)).collect();
            assert_eq!(
                read(first, accepted, entries),
                expected,
                "{entries} from {first}, {accepted} accepted"
            );
        }
    }
}
