//! What is known of the files of the actors' folder.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::folder::Stamp;
use crate::actors::{Actors, Loaded};

/// After so long a version that was refused is looked at anew.
const RECONSIDER_AFTER: Duration = Duration::from_secs(3);
/// Where that is much work, the time doubles up to this.
const RECONSIDER_AT_LEAST_EVERY: Duration = Duration::from_secs(5 * 60);

/// The files, by their paths.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<PathBuf, Known>);

/// What is known of one.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    state: State,
    content: Content,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nobody has looked yet, or it could not be read.
    Unknown,
    /// No actor that this host would load.
    NoActor,
    /// An actor of this name, in service or not.
    Actor(String),
}

/// Where a file is on its way into service.
#[derive(Debug)]
pub(super) enum State {
    /// It has changed, and may be being written yet.
    Changed,
    /// It is in service, or no actor.
    Settled,
    /// It is being looked at, until that is done or given up by this.
    UnderWay(CancellationToken),
    /// It was refused, and why may pass.
    Waiting(Waiting),
}

/// A file that is looked at again.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The version; none if it could not be read or compiled.
    pub(super) loaded: Option<Box<Loaded>>,
    pub(super) because: Because,
    /// How often it was refused for that.
    pub(super) times: u32,
    /// When it was refused last.
    pub(super) last: Instant,
    /// How often grants had changed then.
    pub(super) grants: u64,
}

/// Why it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Because {
    /// The host could not read or compile it.
    OfTheHost,
    /// What there is beside it does not allow it.
    AsThingsAre,
    /// The data of its services do not fit.
    OfData,
}

impl Waiting {
    fn is_due(&self, grants: u64) -> bool {
        self.last.elapsed() >= self.because.again_after(self.times) || grants != self.grants
    }
}

impl Because {
    /// How long it waits when it was refused so often for that.
    fn again_after(self, times: u32) -> Duration {
        match self {
            Self::AsThingsAre => RECONSIDER_AFTER,
            Self::OfTheHost | Self::OfData => {
                let factor = 2_u32.saturating_pow(times.saturating_sub(1));
                RECONSIDER_AFTER.saturating_mul(factor).min(RECONSIDER_AT_LEAST_EVERY)
            }
        }
    }
}

/// What is to be looked at now.
pub(super) struct Due {
    pub(super) file: PathBuf,
    pub(super) stamp: Stamp,
    /// Whether it was looked at before, as it is, and how that ended.
    pub(super) waited: Option<Waiting>,
    pub(super) give_up: CancellationToken,
}

impl Files {
    /// Keeps what was found in a file that has just come into the folder, or was put there.
    pub(super) fn put(&mut self, file: PathBuf, stamp: Stamp, state: State, content: Content) {
        if let Some(Known { state: State::UnderWay(give_up), .. }) =
            self.0.insert(file, Known { stamp, state, content })
        {
            give_up.cancel();
        }
    }

    /// Takes over how the folder looks now. Returns those that have gone, and what is to be looked at, which is under way
    /// from now on: a file that has stayed the same from one look to the next.
    pub(super) fn look(&mut self, stamps: BTreeMap<PathBuf, Stamp>, grants: u64) -> (Vec<PathBuf>, Vec<Due>) {
        let mut gone = Vec::new();
        self.0.retain(|file, known| {
            let stays = stamps.contains_key(file);
            if !stays {
                known.give_up();
                gone.push(file.clone());
            }
            stays
        });
        let mut due = Vec::new();
        for (file, stamp) in stamps {
            match self.0.entry(file) {
                Entry::Vacant(new) => {
                    new.insert(Known { stamp, state: State::Changed, content: Content::Unknown });
                }
                Entry::Occupied(mut entry) if entry.get().stamp != stamp => {
                    entry.get().give_up();
                    entry.insert(Known { stamp, state: State::Changed, content: Content::Unknown });
                }
                Entry::Occupied(mut entry) => {
                    let file = entry.key().clone();
                    due.extend(entry.get_mut().begin(grants).map(|(waited, give_up)| Due {
                        file,
                        stamp,
                        waited,
                        give_up,
                    }));
                }
            }
        }
        (gone, due)
    }

    /// Keeps what a file holds, unless it is another one by now.
    pub(super) fn found(&mut self, file: &Path, stamp: Stamp, content: Content) {
        if let Some(known) = self.0.get_mut(file).filter(|known| known.stamp == stamp) {
            known.content = content;
        }
    }

    /// Keeps how looking at a file ended, unless it is another one by now.
    pub(super) fn ended(&mut self, file: &Path, stamp: Stamp, state: State) {
        let is_it = |known: &&mut Known| known.stamp == stamp && matches!(known.state, State::UnderWay(_));
        if let Some(known) = self.0.get_mut(file).filter(is_it) {
            known.state = state;
        }
    }

    /// Whether a file is known to hold another actor than this one.
    pub(super) fn holds_another(&self, file: &Path, name: &str) -> bool {
        self.0.get(file).is_some_and(|known| matches!(&known.content, Content::Actor(other) if other != name))
    }

    /// Where a version of this actor belongs that came without a file, and whether the version before is there: it is
    /// replaced. `stamp` tells how a file is now.
    ///
    /// # Errors
    /// If what is there is not its own; says what is there, and what would be right.
    pub(super) fn place_for(
        &self,
        name: &str,
        folder: &Path,
        actors: &Actors,
        stamp: impl Fn(&Path) -> io::Result<Stamp>,
    ) -> Result<(PathBuf, bool), String> {
        let before = actors.get(name).map(|before| &before.file);
        let before = before.filter(|file| !self.holds_another(file, name));
        let file = before.cloned().unwrap_or_else(|| folder.join(format!("{name}.wasm")));
        let shown = file.display();
        let (known, is_its_own) = match self.0.get(&file) {
            Some(known) => (Some(known), known.content == Content::Actor(name.to_owned())),
            None => (None, false),
        };
        let others = |(other, loaded): &(&str, &Loaded)| *other != name && loaded.file == file;
        if let Some((other, _)) = actors.iter().find(others).filter(|_| !is_its_own) {
            return Err(format!(
                "`{name}` belongs into {shown}, and that is the file of the actor `{other}`; give the file of `{other}` \
                 another name (put it there first, and then remove {shown}), or put the component of `{name}` into the \
                 actors' folder under another name"
            ));
        }
        let is_there = match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((file, false)),
            _ => stamp(&file),
        };
        let known = known.filter(|known| is_there.is_ok_and(|stamp| stamp == known.stamp));
        let what = match known.map(|known| &known.content) {
            Some(Content::Actor(other)) if other == name => return Ok((file, true)),
            Some(Content::NoActor) if before.is_some() => return Ok((file, true)),
            Some(Content::Actor(other)) => format!("holds the actor `{other}`"),
            Some(Content::NoActor) => "is there already, and is no actor that this host would load".into(),
            Some(Content::Unknown) | None => {
                return Err(format!(
                    "`{name}` belongs into {shown}, and what that file holds is not known yet, since it has just changed or \
                     cannot be read; upload again in some seconds"
                ));
            }
        };
        Err(format!(
            "`{name}` belongs into {shown}, which {what}; give that file another name, or remove it, or put the component \
             of `{name}` into the actors' folder under another name"
        ))
    }
}

impl Known {
    /// Begins to look at it, if it is time to.
    fn begin(&mut self, grants: u64) -> Option<(Option<Waiting>, CancellationToken)> {
        let is_due = match &self.state {
            State::Changed => true,
            State::Waiting(waiting) => waiting.is_due(grants),
            State::Settled | State::UnderWay(_) => false,
        };
        if !is_due {
            return None;
        }
        let give_up = CancellationToken::new();
        match std::mem::replace(&mut self.state, State::UnderWay(give_up.clone())) {
            State::Waiting(waited) => Some((Some(waited), give_up)),
            _ => Some((None, give_up)),
        }
    }

    fn give_up(&self) {
        if let State::UnderWay(give_up) = &self.state {
            give_up.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_much_work_is_done_again_ever_more_rarely() {
        let seconds =
            |because: Because| [1, 2, 3, 7, 8, 1000].map(|times| because.again_after(times).as_secs());
        assert_eq!(seconds(Because::OfData), [3, 6, 12, 192, 300, 300]);
        assert_eq!(seconds(Because::OfTheHost), [3, 6, 12, 192, 300, 300]);
        assert_eq!(seconds(Because::AsThingsAre), [3; 6]);
    }
}
