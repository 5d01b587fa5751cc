//! The scripts. Each is a file of its own that says what it reads, writes and promises.

use std::sync::OnceLock;

/// A Lua script.
pub(super) struct Script {
    pub(super) source: &'static str,
    sha1: OnceLock<String>,
}

impl Script {
    const fn new(source: &'static str) -> Self {
        Self { source, sha1: OnceLock::new() }
    }

    /// The name under which Redis keeps it.
    pub(super) fn sha1(&self) -> &str {
        self.sha1.get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }
}

pub(super) static OPEN: Script = Script::new(include_str!("scripts/open.lua"));
pub(super) static COMMIT: Script = Script::new(include_str!("scripts/commit.lua"));
pub(super) static LEASE: Script = Script::new(include_str!("scripts/lease.lua"));
pub(super) static RETAIN: Script = Script::new(include_str!("scripts/retain.lua"));
