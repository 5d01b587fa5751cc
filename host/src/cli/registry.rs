//! How `push` and `pull` reach a registry.

use ays_registry::{Access, Login};
use clap::builder::BoolishValueParser;

/// How.
#[derive(Debug, clap::Args)]
pub(super) struct RegistryArgs {
    /// Without TLS. A registry on this machine (127.0.0.1, ::1, localhost) is reached so in any case
    #[arg(long, env = "AYS_PLAIN_HTTP", value_parser = BoolishValueParser::new())]
    plain_http: bool,
    /// The user; otherwise as `docker login` has stored it, or nobody. AYS_REGISTRY_PASSWORD holds the password
    #[arg(long = "registry-user", value_name = "USER", env = "AYS_REGISTRY_USER")]
    user: Option<String>,
}

impl RegistryArgs {
    /// As it is said.
    pub(super) fn access(self) -> anyhow::Result<Access> {
        let login = match self.user.filter(|user| !user.is_empty()) {
            None => None,
            Some(user) => {
                let password = std::env::var("AYS_REGISTRY_PASSWORD");
                let why = "there is a user for the registry, but AYS_REGISTRY_PASSWORD holds no password";
                Some(Login { user, password: password.map_err(|_| anyhow::anyhow!(why))? })
            }
        };
        Ok(Access { plain_http: self.plain_http, login })
    }
}
