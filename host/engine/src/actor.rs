//! A loaded component.

use std::sync::Arc;

use ays_core::{
    Digest,
    job::Failure,
    manifest::{Limits, Manifest},
};

use crate::{Clock, Instance, bindings::ActorPre, breach, state::State};

/// Where a component's code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiled {
    /// It was compiled just now.
    Now,
    /// It was compiled before, and kept in the cache.
    Cached,
}

/// One version of an actor: its component, compiled and linked to the host's functions, and its manifest.
pub struct Actor {
    pub(crate) digest: Digest,
    pub(crate) shown_digest: Arc<str>,
    pub(crate) size: usize,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) description: Arc<str>,
    pub(crate) compiled: Compiled,
    pub(crate) pre: ActorPre<State>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limited: bool,
}

impl Actor {
    /// What tells this version from others: the SHA-256 of its file, as text.
    pub fn digest(&self) -> &Arc<str> {
        &self.shown_digest
    }

    /// The same, to compare with.
    pub fn sha256(&self) -> Digest {
        self.digest
    }

    /// The component's size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// What the actor says it is.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The same, as its `describe` returned it: the JSON text that belongs into its section `ays:manifest`.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Where its code came from.
    pub fn compiled(&self) -> Compiled {
        self.compiled
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// If the component's own start takes more than `limits`, or traps, or no more instances can be had.
    pub async fn instantiate(&self, limits: &Limits) -> Result<Instance, Failure> {
        Instance::new(&self.pre, &self.clock, limits, self.limited)
            .await
            .map_err(|e| breach::failure(&e, limits))
    }
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("name", &self.manifest.name).field("digest", &self.digest).finish()
    }
}
