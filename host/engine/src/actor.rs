//! A loaded component.

use std::sync::Arc;

use ays_core::{
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
    pub(crate) digest: Arc<str>,
    pub(crate) size: usize,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) compiled: Compiled,
    pub(crate) pre: ActorPre<State>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limited: bool,
}

impl Actor {
    /// What tells this version from others: `blake3:` and 64 hexadecimal digits, the hash of the component.
    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// The component's size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// What the actor says it is.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
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
        Instance::new(&self.pre, &self.clock, limits, self.limited).await.map_err(|e| breach::failure(&e))
    }
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("name", &self.manifest.name).field("digest", &self.digest).finish()
    }
}
