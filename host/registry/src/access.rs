//! How a registry is reached, and as whom.

use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::{
    Client,
    client::{ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};

use crate::{Reference, RegistryError};

const USER_AGENT: &str = concat!("ays-host/", env!("CARGO_PKG_VERSION"));
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(20);
/// How long the next bytes may take.
const READ: Duration = Duration::from_secs(60);

/// How a registry is reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Without TLS, wherever the registry is. One on this machine is reached so in any case.
    pub plain_http: bool,
    /// As whom; otherwise as Docker's configuration says (`docker login` writes it), or as nobody.
    pub login: Option<Login>,
}

/// A user and a password, or a token instead of one.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Access {
    /// A client for the registry of this reference.
    pub(crate) fn client(&self, to: &Reference) -> Result<Client, RegistryError> {
        // The one provider that the workspace builds. Where another is installed already, that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let protocol = if self.is_plain(to) { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig {
            protocol,
            // No platform is that of a component.
            platform_resolver: None,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(READ),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        Client::try_from(config).map_err(|e| RegistryError::of(to, e))
    }

    /// What requests of our own are made with, after [`client`](Self::client).
    pub(crate) fn http(&self) -> Result<reqwest::Client, reqwest::Error> {
        let builder = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(READ);
        builder.user_agent(USER_AGENT).build()
    }

    /// Whether the registry is reached without TLS.
    pub(crate) fn is_plain(&self, to: &Reference) -> bool {
        self.plain_http || to.is_loopback()
    }

    /// As whom.
    pub(crate) fn auth(&self, to: &Reference) -> Result<RegistryAuth, RegistryError> {
        if let Some(Login { user, password }) = &self.login {
            return Ok(RegistryAuth::Basic(user.clone(), password.clone()));
        }
        match docker_credential::get_credential(to.0.registry()) {
            Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
            Ok(DockerCredential::IdentityToken(_)) => Err(RegistryError::Credentials {
                registry: to.registry().into(),
                why: "it is an identity token, which is not supported".into(),
            }),
            Err(
                CredentialRetrievalError::NoCredentialConfigured
                | CredentialRetrievalError::ConfigNotFound
                | CredentialRetrievalError::ConfigReadError,
            ) => Ok(RegistryAuth::Anonymous),
            // So helpers say, with a failure, that they have none.
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if stdout.contains("credentials not found") =>
            {
                Ok(RegistryAuth::Anonymous)
            }
            Err(why) => {
                Err(RegistryError::Credentials { registry: to.registry().into(), why: why.to_string() })
            }
        }
    }
}
