//! The actors' folder, looked at again and again.
//!
//! Each file that has changed is loaded and examined by a task of its own: an actor whose data take long to look at keeps
//! no other one waiting.

use std::{path::Path, sync::Arc};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, warn};

use super::{
    LOOK_EVERY, Refused, Upgrades,
    examine::Unfit,
    files::{Because, Content, Due, State, Waiting},
    folder::{self, Stamp},
    refused,
};
use crate::{
    actors::{Loaded, may_pass},
    clock,
    package::PackageFile,
};

impl Upgrades {
    /// Looks at the folder until the host stops.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut unreadable = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock::sleep(LOOK_EVERY) => {}
            }
            let looked = self.look(&stop).await;
            if let Err(why) = &looked
                && !unreadable
            {
                warn!("new versions of actors are not noticed: {why:#}");
            }
            unreadable = looked.is_err();
        }
    }

    /// Looks at the folder once.
    async fn look(self: &Arc<Self>, stop: &CancellationToken) -> anyhow::Result<()> {
        let (folder, signed) = (self.settings.folder.clone(), self.signed());
        let (gone, due) = {
            // First: a version that is put there meanwhile must not be taken for one that has gone.
            let mut files = self.files.lock().await;
            let stamps = tokio::task::spawn_blocking(move || folder::stamps(&folder, signed)).await??;
            files.look(stamps, self.granting.changes())
        };
        gone.iter().for_each(|file| self.gone(file));
        for due in due {
            let (this, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled(this.look_at(due)).await });
        }
        Ok(())
    }

    /// A file has gone. An actor that came from it stays in service: deploying is often removing and writing, and its jobs
    /// must not wait for the second half.
    fn gone(&self, file: &Path) {
        if let Some((name, _)) = self.live.now().iter().find(|(_, loaded)| loaded.file == file) {
            warn!(actor = name, "{} has gone; the actor {name} stays until the host stops", file.display());
        }
        self.clear(|refused| refused.file.as_deref() == Some(file));
    }

    async fn look_at(self: Arc<Self>, due: Due) {
        let (file, stamp) = (due.file.clone(), due.stamp);
        let looking = self.clone();
        let looking = AbortOnDropHandle::new(tokio::spawn(async move { looking.consider(due).await }));
        let state = looking.await.unwrap_or_else(|died| {
            error!("looking at {} died: {died}", file.display());
            State::Settled
        });
        self.files.lock().await.ended(&file, stamp, state);
    }

    /// Looks at a file that is whole as far as one can see, or at the version that was found in it before.
    async fn consider(&self, due: Due) -> State {
        let Due { file, stamp, waited, give_up } = due;
        let (loaded, before) = match waited {
            Some(Waiting { loaded: Some(loaded), because, times, .. }) => (loaded, Some((because, times))),
            waited => {
                let before = waited.map(|waited| (waited.because, waited.times));
                if before.is_none() {
                    self.clear(|refused| refused.file.as_ref() == Some(&file));
                }
                match self.read(&file, stamp, &give_up).await {
                    Ok(Some(loaded)) => (Box::new(loaded), before),
                    Ok(None) => return State::Changed,
                    Err(why) => return self.not_loaded(&file, stamp, why, before).await,
                }
            }
        };
        let examined = async {
            let turn = give_up.run_until_cancelled(self.turns.of(loaded.name())).await;
            let turn = turn.ok_or(Unfit::GivenUp)?;
            self.examine(&loaded, &give_up).await?;
            if self.stamp(&file).ok() != Some(stamp) {
                return Err(Unfit::GivenUp);
            }
            self.grant(&loaded).await.map_err(Unfit::AsThingsAre)?;
            Ok(turn)
        };
        let examined = examined.await;
        let (because, why) = match examined {
            Ok(_turn) => {
                self.put(*loaded).await;
                return State::Settled;
            }
            Err(Unfit::GivenUp) => return State::Changed,
            Err(Unfit::AsThingsAre(why)) => (Because::AsThingsAre, why),
            Err(Unfit::ByData(why)) => (Because::OfData, why),
        };
        let refused = refused(Some(&file), Some(&loaded), why);
        self.wait(refused, Some(loaded), because, before)
    }

    /// Reads and loads a file, and keeps what it holds. None if it is another one by now.
    async fn read(
        &self,
        file: &Path,
        stamp: Stamp,
        give_up: &CancellationToken,
    ) -> anyhow::Result<Option<Loaded>> {
        let Some(turn) = give_up.run_until_cancelled(self.turn_to_load()).await else { return Ok(None) };
        let package = {
            let (file, most) = (file.to_owned(), self.engine.component_bytes());
            tokio::task::spawn_blocking(move || PackageFile::read_to_load(&file, most)).await?
        };
        if self.stamp(file).ok() != Some(stamp) {
            return Ok(None);
        }
        let Some(loaded) =
            give_up.run_until_cancelled(self.load(turn, Some(file), Arc::new(package?))).await.transpose()?
        else {
            return Ok(None);
        };
        let name = loaded.name();
        self.files.lock().await.found(file, stamp, Content::Actor(name.to_owned()));
        for (other, _) in self.live.now().iter().filter(|(other, of)| *other != name && of.file == file) {
            warn!(
                actor = other,
                "{} holds the actor {name} now: that of the actor {other} has gone; {other} stays until the host stops",
                file.display()
            );
        }
        Ok(Some(loaded))
    }

    /// A file could not be loaded.
    async fn not_loaded(
        &self,
        file: &Path,
        stamp: Stamp,
        why: anyhow::Error,
        before: Option<(Because, u32)>,
    ) -> State {
        let passes = may_pass(&why);
        let refused = refused(Some(file), None, why);
        if passes {
            return self.wait(refused, None, Because::OfTheHost, before);
        }
        self.files.lock().await.found(file, stamp, Content::NoActor);
        self.refuse(refused);
        State::Settled
    }

    /// What was refused is looked at again. It is told of when it is refused for another reason than `before`.
    fn wait(
        &self,
        refused: Refused,
        loaded: Option<Box<Loaded>>,
        because: Because,
        before: Option<(Because, u32)>,
    ) -> State {
        let times = match before {
            Some((same, times)) if same == because => {
                self.keep(refused);
                times.saturating_add(1)
            }
            _ => {
                self.refuse(refused);
                1
            }
        };
        let (last, grants) = (clock::instant(), self.granting.changes());
        State::Waiting(Waiting { loaded, because, times, last, grants })
    }
}
