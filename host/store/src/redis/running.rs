//! Tells the other hosts' readers which jobs this host is executing: those that have been for a while, since most end
//! sooner than anybody could look.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ays_core::Id;

use super::{Shared, args::Args, timer};

/// How often it tells. A job that is still being executed when it looks twice is told of.
const EVERY: Duration = Duration::from_millis(200);
/// For how long what it told is believed, in ms.
const BELIEVED_MS: u64 = 30_000;

/// Goes on until the store is closed.
pub(super) async fn tell(shared: Arc<Shared>) {
    let key = format!("running:{}", shared.host);
    let mut seen: BTreeSet<Id> = BTreeSet::new();
    let mut told: BTreeSet<Id> = BTreeSet::new();
    let mut told_at = timer::now();
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            () = timer::sleep(EVERY) => {}
        }
        let executing = shared.executing();
        let lasting: BTreeSet<Id> = executing.intersection(&seen).copied().collect();
        seen = executing;
        let again = !told.is_empty() && told_at.elapsed() > Duration::from_millis(BELIEVED_MS / 3);
        if lasting == told && !again {
            continue;
        }
        let mut asked = Vec::new();
        let change = |name: &str, ids: Vec<&Id>, value: Option<&str>| {
            let mut command: Args = shared.command(name, &key);
            for id in ids {
                command.show(id);
                if let Some(value) = value {
                    command.push(value);
                }
            }
            command
        };
        let (gone, new): (Vec<_>, Vec<_>) =
            (told.difference(&lasting).collect(), lasting.difference(&told).collect());
        if !gone.is_empty() {
            asked.push(change("HDEL", gone, None));
        }
        if !new.is_empty() {
            asked.push(change("HSET", new, Some("")));
        }
        let mut expire = shared.command("PEXPIRE", &key);
        expire.show(BELIEVED_MS);
        asked.push(expire);
        // What could not be told is told the next time.
        if shared.link.ask(&asked).await.is_ok() {
            told = lasting;
            told_at = timer::now();
        }
    }
}
