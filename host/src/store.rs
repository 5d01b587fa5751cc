//! Which store: the addresses that `--store` takes.

use std::{path::PathBuf, str::FromStr, sync::Arc};

use anyhow::Context as _;
use ays_store::{
    Store,
    embedded::{Embedded, Options},
};

use crate::clock;

/// Where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// In a folder, by the embedded store: `file:PATH`.
    File(PathBuf),
    /// Nowhere: gone when the host ends. For tests: `memory:`.
    Memory,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => {
                Ok(Self::File(path.strip_prefix("//").unwrap_or(path).into()))
            }
            Some(("memory", "")) => Ok(Self::Memory),
            _ => Err(format!("`{text}` is not a store; it takes file:PATH or memory:")),
        }
    }
}

impl Address {
    /// Opens the store.
    ///
    /// # Errors
    /// If another host holds it, or it was written by a newer version, or it cannot be read.
    pub async fn open(&self, namespace: &str) -> anyhow::Result<Arc<dyn Store>> {
        let this = self.clone();
        let name = namespace.to_owned();
        // Opening reads back what is pending, which may be much.
        let opened = tokio::task::spawn_blocking(move || -> ays_store::Result<Arc<dyn Store>> {
            Ok(match this {
                Self::File(path) => Arc::new(Embedded::open(&path, &name, Options::default(), clock::now())?),
                Self::Memory => Arc::new(Embedded::in_memory(&name)?),
            })
        });
        Ok(opened.await.context("opening the store died")??)
    }
}
