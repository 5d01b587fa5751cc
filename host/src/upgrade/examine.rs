//! What a version must stand up to before it is put into service.

use ays_core::{blueprint::Plan, upgrade::Upgrade};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Upgrades, calls, rehearsal::Rehearsal};
use crate::{
    actors::{Actors, Loaded},
    apply,
};

/// Why a version is not put into service.
#[derive(Debug)]
pub(super) enum Unfit {
    /// By what is there beside it: grants, pins, what calls it, another file. It is soon looked at again.
    AsThingsAre(anyhow::Error),
    /// By its services' data. That is much work to look at again.
    ByData(anyhow::Error),
    /// It is not known: its file changed meanwhile.
    GivenUp,
}

impl Upgrades {
    /// Whether a version may take its place, once it is [granted](Self::grant) what it asks for. To be called by who has the
    /// actor's [turn](super::turns::Turns).
    pub(super) async fn examine(&self, new: &Loaded, give_up: &CancellationToken) -> Result<(), Unfit> {
        self.check(new).await.map_err(Unfit::AsThingsAre)?;
        let rehearsal =
            Rehearsal { new: new.clone(), limits: self.settings.limits, store: self.store.clone() };
        match give_up.run_until_cancelled(rehearsal.run(&self.guests)).await {
            Some(rehearsed) => rehearsed.map_err(Unfit::ByData)?,
            None => return Err(Unfit::GivenUp),
        }
        // It may have taken long.
        self.check(new).await.map_err(Unfit::AsThingsAre)
    }

    /// All but the data: it changes nothing, and is little work.
    async fn check(&self, new: &Loaded) -> anyhow::Result<()> {
        let name = new.name();
        if let Some(before) = self.live.now().get(name)
            && before.file != new.file
            && before.file.exists()
            && !self.files.lock().await.holds_another(&before.file, name)
        {
            anyhow::bail!("the actor `{name}` was loaded from {} already; remove one", before.file.display());
        }
        let mut would_be = Actors::clone(&self.live.now());
        would_be.put(new.clone());
        if let Err(problems) = apply::check_pins(&self.settings.pinned, &would_be) {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::bail!("{}", told.join("; "));
        }
        if !self.settings.grant {
            let actors = Actors::only(new.clone());
            let lacks = self
                .granting
                .shortfalls_in_use(&Plan::default(), &actors, self.store.as_ref(), |_| true)
                .await?;
            let told: Vec<String> = lacks.iter().map(ToString::to_string).collect();
            anyhow::ensure!(told.is_empty(), "{}", told.join("; "));
        }
        let now = self.live.now();
        let before = now.get(name).map(|before| before.actor.manifest().as_ref());
        calls::check(&Upgrade { before, new: new.actor.manifest() }, self.store.as_ref()).await
    }

    /// Grants what it asks for, if this host does that; when nothing else keeps it from its place, for that stays.
    pub(super) async fn grant(&self, new: &Loaded) -> anyhow::Result<()> {
        if !self.settings.grant {
            return Ok(());
        }
        let (plan, actors) = (Plan::default(), Actors::only(new.clone()));
        let lacks = self.granting.shortfalls_in_use(&plan, &actors, self.store.as_ref(), |_| true).await?;
        lacks.iter().for_each(|lack| info!("granting what was not: {lack}"));
        if !lacks.is_empty() {
            self.granting.grant(&plan, &lacks, self.store.as_ref()).await?;
        }
        Ok(())
    }
}
