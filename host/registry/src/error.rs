//! Why a registry did not do as it was asked.

use ays_core::Digest;
use ays_package::section::SectionError;
use oci_client::errors::{OciDistributionError as Oci, OciErrorCode};

use crate::Reference;

/// Why a component was not pushed or pulled.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is none of this name.
    #[error("{reference}: the registry has no such tag or digest")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// The registry wants to know who asks, or does not let them.
    #[error(
        "{reference}: the registry does not let this user do that; `docker login`, or AYS_REGISTRY_USER and \
         AYS_REGISTRY_PASSWORD, say who it is"
    )]
    Unauthorized {
        /// What was asked for.
        reference: String,
    },
    /// What Docker's configuration has for the registry cannot be used.
    #[error(
        "Docker's configuration has credentials for {registry} that cannot be used ({why}); AYS_REGISTRY_USER and \
         AYS_REGISTRY_PASSWORD take their place"
    )]
    Credentials {
        /// The registry.
        registry: String,
        /// What is wrong with them.
        why: String,
    },
    /// What is there is not what its digest says.
    #[error(
        "{reference}: {what} was tampered with: it should be {expected}, and is {found}; nothing was written"
    )]
    Tampered {
        /// What was asked for.
        reference: String,
        /// The manifest, or the component.
        what: &'static str,
        /// The digest it goes by.
        expected: String,
        /// The digest it has.
        found: Digest,
    },
    /// Something lies there, and is no component.
    #[error("{reference} is not a component: {why}")]
    NotAComponent {
        /// What was asked for.
        reference: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name that stands for one manifest cannot be given to another.
    #[error("{reference}: a digest cannot be pushed to; a tag, as :1.0, would be right")]
    Pinned {
        /// What was asked for.
        reference: String,
    },
    /// What was to be pushed is no component.
    #[error(transparent)]
    Component(#[from] SectionError),
    /// The registry could not be reached, or answered with something else.
    #[error("{reference}: {why}")]
    Failed {
        /// What was asked for.
        reference: String,
        /// Why.
        why: String,
    },
}

impl RegistryError {
    /// Out of the library's, in the words of what was asked for.
    pub(crate) fn of(reference: &Reference, error: Oci) -> Self {
        let reference_text = reference.to_string();
        let is = |codes: &[OciErrorCode], envelope: &oci_client::errors::OciEnvelope| {
            envelope.errors.iter().any(|error| codes.contains(&error.code))
        };
        use OciErrorCode as Code;
        match &error {
            Oci::ImageManifestNotFoundError(_) | Oci::ServerError { code: 404, .. } => {
                Self::NotFound { reference: reference_text }
            }
            Oci::RegistryError { envelope, .. }
                if is(
                    &[Code::ManifestUnknown, Code::NameUnknown, Code::BlobUnknown, Code::NotFound],
                    envelope,
                ) =>
            {
                Self::NotFound { reference: reference_text }
            }
            Oci::UnauthorizedError { .. }
            | Oci::AuthenticationFailure(_)
            | Oci::ServerError { code: 401 | 403, .. } => Self::Unauthorized { reference: reference_text },
            Oci::RegistryError { envelope, .. } if is(&[Code::Unauthorized, Code::Denied], envelope) => {
                Self::Unauthorized { reference: reference_text }
            }
            _ => {
                let mut why = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(inner) = source {
                    let text = inner.to_string();
                    if !why.contains(&text) {
                        why = format!("{why}: {text}");
                    }
                    source = inner.source();
                }
                Self::Failed { reference: reference_text, why }
            }
        }
    }
}
