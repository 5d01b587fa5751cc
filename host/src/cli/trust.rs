//! `--trust`.

use std::path::Path;

use anyhow::Context as _;
use ays_package::{Trust, key::PublicKey};

/// Whose signatures count.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TrustArgs {
    /// Take only components that this key signed: the file of a public key, or the key itself (base64). Repeat it, or
    /// part keys with `:`, to trust several
    #[arg(long, value_name = "KEY", env = "AYS_TRUST", value_delimiter = ':', value_parser = key)]
    trust: Vec<PublicKey>,
}

impl TrustArgs {
    /// The keys; none if nobody asks for signatures.
    pub(super) fn keys(&self) -> Option<Trust> {
        Trust::new(self.trust.iter().cloned())
    }
}

/// A public key of its file, or of its text.
fn key(text: &str) -> anyhow::Result<PublicKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let file = Path::new(text);
    let content = std::fs::read_to_string(file).with_context(|| {
        format!(
            "`{text}` is neither a public key (56 characters that begin with RW) nor a file that can be read; \
             `ays-host keygen` makes both"
        )
    })?;
    content.parse().map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))
}
