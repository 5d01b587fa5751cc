//! Where compiled code is kept: what the commands that load components have in common.

use std::{io, path::PathBuf};

use ays_engine::CodeCache;

use super::size;

/// Flags of the commands that keep compiled code.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CodeCacheArgs {
    /// The folder for compiled code, readable by its owner alone; `none` compiles at each start
    #[arg(long, value_name = "DIR", env = "AYS_CODE_CACHE", default_value = ".ays/code")]
    code_cache: PathBuf,
    /// How large it may become: what was used least recently goes. Bytes, or with KiB, MiB, GiB
    #[arg(long, value_name = "SIZE", env = "AYS_CODE_CACHE_SIZE", default_value = "1GiB", value_parser = size::parse)]
    code_cache_size: u64,
}

impl CodeCacheArgs {
    /// The folder, and how many bytes it may have; none if code is not to be kept.
    pub(super) fn place(&self) -> Option<(PathBuf, u64)> {
        (self.code_cache.as_os_str() != "none").then(|| (self.code_cache.clone(), self.code_cache_size))
    }

    /// Opens it; none if code is not to be kept.
    pub(super) fn open(&self) -> Option<io::Result<CodeCache>> {
        self.place().map(|(folder, most)| Ok(CodeCache::open(&folder)?.at_most(most)))
    }
}
