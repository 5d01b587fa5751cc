//! Where a component lies in a registry.

use std::{fmt, net::IpAddr, str::FromStr};

/// `REGISTRY/REPOSITORY[:TAG][@sha256:DIGEST]`; without tag and digest, the tag is `latest`. The digest is of the
/// manifest in the registry, which names the component by its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(pub(crate) oci_client::Reference);

/// A text that is no [`Reference`]; says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no reference: {why}; REGISTRY/REPOSITORY:TAG, or REGISTRY/REPOSITORY@sha256:…, would be right"
)]
pub struct InvalidReference {
    text: String,
    why: String,
}

impl Reference {
    /// The registry: a name or an address, with its port if that is said.
    pub fn registry(&self) -> &str {
        self.0.resolve_registry()
    }

    /// The last part of the repository's name.
    pub fn name(&self) -> &str {
        self.0.repository().rsplit('/').next().unwrap_or_default()
    }

    /// Whether it names one manifest by its digest, which can never become another.
    pub fn is_pinned(&self) -> bool {
        self.0.digest().is_some()
    }

    /// Whether the registry is on this machine, so that what is sent there is on no wire.
    pub fn is_loopback(&self) -> bool {
        let registry = self.registry();
        let host = match registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => registry,
        };
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let wrong = |why: &dyn fmt::Display| InvalidReference { text: text.into(), why: why.to_string() };
        let reference: oci_client::Reference =
            text.parse().map_err(|e: oci_client::ParseError| wrong(&e.to_string()))?;
        // A name without a registry would be Docker Hub's, and a slip of the pen would be sent there.
        if !text.starts_with(&format!("{}/", reference.registry())) {
            return Err(wrong(&"it names no registry"));
        }
        if reference.digest().is_some_and(|digest| !digest.starts_with("sha256:")) {
            return Err(wrong(&"its digest is no SHA-256"));
        }
        Ok(Self(reference))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_registry() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let cases = [
            ("localhost:5000/actors/node:1", true, false),
            ("localhost/actors/node", true, false),
            ("127.0.0.1:5000/node:1", true, false),
            ("127.8.0.1:5000/node:1", true, false),
            ("localhost.example.org/node:1", false, false),
            ("128.0.0.1:5000/node:1", false, false),
            ("registry.example.org/a/b/node:1", false, false),
            (&format!("registry.example.org/a/node@{digest}"), false, true),
            (&format!("registry.example.org/a/node:1@{digest}"), false, true),
        ];
        for (text, loopback, pinned) in cases {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.is_loopback(), reference.is_pinned()), (loopback, pinned), "{text}");
            assert_eq!(reference.name(), "node", "{text}");
            assert!(reference.to_string().starts_with(text), "{text}");
        }
        for wrong in [
            "",
            "node",
            "actors/node:1",
            "localhost:5000/Node",
            "localhost:5000/node@sha256:ab",
            "http://localhost/node",
        ] {
            let error = wrong.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
        }
    }
}
