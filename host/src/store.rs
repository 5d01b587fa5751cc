//! Which store: the addresses that `--store` takes.

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use anyhow::Context as _;
use ays_redis::{ConnectOptions, Server};
use ays_store::{
    Store,
    embedded::{self, Embedded},
    redis::{self, Redis},
};
use tracing::warn;

use crate::clock;

/// Where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// In a folder, by the embedded store: `file:PATH`.
    File(PathBuf),
    /// In Redis or Valkey, shared with other hosts: see [`ays_redis::Address`].
    Redis(ays_redis::Address),
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
            Some((scheme, _)) if scheme.starts_with("redis") || scheme.starts_with("unix") => {
                text.parse().map(Self::Redis).map_err(|e: ays_redis::InvalidAddress| e.to_string())
            }
            _ => Err(format!("`{text}` is not a store; it takes file:PATH, redis://HOST or memory:")),
        }
    }
}

impl Address {
    /// Opens the store. `lease` is for how long a host that shares it may be silent.
    ///
    /// # Errors
    /// If another host holds it, or it was written by a newer version, or it cannot be read or reached.
    pub async fn open(&self, namespace: &str, lease: Duration) -> anyhow::Result<Arc<dyn Store>> {
        let name = namespace.to_owned();
        let opened: ays_store::Result<Arc<dyn Store>> = match self.clone() {
            // Opening reads back what is pending, which may be much.
            Self::File(path) => {
                let open = move || Embedded::open(&path, &name, embedded::Options::default(), clock::now());
                let opened = tokio::task::spawn_blocking(open).await.context("opening the store died")?;
                opened.map(|store| Arc::new(store) as _)
            }
            Self::Memory => Embedded::in_memory(&name).map(|store| Arc::new(store) as _),
            Self::Redis(address) => {
                let server = Arc::new(Server::new(address)?);
                let (_, warnings) = look_at(&server).await?;
                for warning in warnings {
                    warn!(
                        "the store on {}: {}; to put it right: {}",
                        server.address(),
                        warning.what,
                        warning.fix
                    );
                }
                let mut options = redis::Options::default();
                options.lease = lease;
                let store = Redis::open(server, &name, options, clock::now()).await;
                store.map(|store| Arc::new(store) as _)
            }
        };
        Ok(opened?)
    }
}

/// Commands that no server before Redis 6.2 has.
const NEEDED: [&str; 3] = ["LMOVE", "BLMOVE", "ZMSCORE"];

/// Looks at a server: what it is, and what of its configuration endangers what is kept there.
///
/// # Errors
/// If it cannot be reached, or is too old.
pub async fn look_at(server: &Server) -> anyhow::Result<(ays_redis::Settings, Vec<ays_redis::Warning>)> {
    let mut connection = server.connect(b"", ConnectOptions::default()).await?;
    // A user may be forbidden to ask; then what is missing shows when it is used.
    if let Ok(known) = ays_redis::commands(&mut connection, &NEEDED).await {
        let missing: Vec<_> = NEEDED.into_iter().filter(|name| !known.contains(*name)).collect();
        anyhow::ensure!(
            missing.is_empty(),
            "{} does not know {}: Redis 6.2 or newer is needed, or Valkey",
            server.address(),
            missing.join(", ")
        );
    }
    let settings = ays_redis::settings(&mut connection).await?;
    let warnings = settings.warnings(server.address());
    Ok((settings, warnings))
}
