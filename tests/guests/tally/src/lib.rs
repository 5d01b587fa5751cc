//! An actor that remembers which events it was given and in which order, in little room: for tests that lose hosts and
//! servers while very many events come in.

use std::{thread, time::Duration};

use ays_sdk::prelude::*;

#[derive(Serialize, Deserialize, Schema)]
#[serde(crate = "ays_sdk::serde")]
struct Tally {
    /// How often `mark` ran.
    count: u64,
    /// A number that comes of what `mark` was given, in that order, and of nothing else.
    chain: u64,
    /// The last few things that `mark` was given, for whoever wants to know where it went wrong.
    recent: Vec<String>,
    /// How long `mark` sleeps, in milliseconds.
    pause_ms: u64,
}

#[actor]
impl Tally {
    /// Sleeps for `pause_ms`, then notes what it was given: a number of a stream.
    #[action]
    fn mark(&mut self, stream: String, number: u64) {
        if self.pause_ms > 0 {
            thread::sleep(Duration::from_millis(self.pause_ms));
        }
        let mark = format!("{stream} {number}");
        self.count += 1;
        self.chain = chain(self.chain, &mark);
        self.recent.push(mark);
        if self.recent.len() > 8 {
            self.recent.remove(0);
        }
    }
}

/// FNV-1a over the link before and this mark, cut to the 53 bits that every reader of JSON keeps.
fn chain(before: u64, mark: &str) -> u64 {
    let hash = before
        .to_le_bytes()
        .into_iter()
        .chain(mark.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    hash & ((1 << 53) - 1)
}
