//! Outbound HTTP: which requests.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

/// By what HTTP is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TCP.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is said.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(format!("has the scheme `{text}`; http or https would be right")),
        }
    }
}

/// Which host a request is for: its name in small letters without the dot at its end, or its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, yet to be looked up.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Reads the host of a URL; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &str) -> Result<Self, String> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').unwrap_or(inner);
            let address = inner.parse().map_err(|_| format!("`{text}` is no IPv6 address"))?;
            // An IPv4 address that is written as an IPv6 one is the same place.
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        if name.len() <= 253 && name.split('.').all(label) {
            Ok(Self::Name(name))
        } else {
            Err(format!(
                "`{text}` is no host; a name in ASCII (`xn--…` for others) or an address would be right"
            ))
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// One request, as far as it matters for whether it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// Its method; case counts.
    pub method: String,
    /// Its scheme.
    pub scheme: Scheme,
    /// Where it goes.
    pub host: Host,
    /// To which port.
    pub port: u16,
}

impl HttpCall {
    /// The rule that allows this request and no other.
    pub fn rule(&self) -> HttpRule {
        HttpRule {
            methods: Some(BTreeSet::from([self.method.clone()])),
            scheme: self.scheme,
            host: HostPattern::Is(self.host.clone()),
            port: Some(self.port),
            private: false,
        }
    }
}

impl fmt::Display for HttpCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule().fmt(f)
    }
}

/// Which hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HostPattern {
    /// `*`
    Any,
    /// `*.example.com`: what is below this name, and not the name itself.
    Below(String),
    /// This one.
    Is(Host),
}

impl HostPattern {
    fn takes(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Below(parent), Host::Name(name)) => is_below(name, parent),
            (Self::Below(_), Host::Address(_)) => false,
            (Self::Is(own), host) => own == host,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (Self::Below(own), Self::Below(other)) => own == other || is_below(other, own),
            (Self::Is(_), Self::Below(_)) => false,
            (_, Self::Is(host)) => self.takes(host),
        }
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Is(host) => host.fmt(f),
        }
    }
}

/// Which requests: `[METHOD,…] SCHEME://HOST[:PORT] [private]`.
///
/// Without methods any is meant. The port is the scheme's unless it is said, `:*` is any. With `private`, names may
/// lead to private and loopback addresses; other addresses that are not public must be named themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRule {
    methods: Option<BTreeSet<String>>,
    scheme: Scheme,
    host: HostPattern,
    port: Option<u16>,
    private: bool,
}

impl HttpRule {
    /// Whether the request is one of these, whatever address its name leads to.
    pub fn takes(&self, call: &HttpCall) -> bool {
        self.scheme == call.scheme
            && self.port.is_none_or(|port| port == call.port)
            && self.methods.as_ref().is_none_or(|methods| methods.contains(&call.method))
            && self.host.takes(&call.host)
    }

    /// Whether names may lead to private addresses.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Whether it is for one port, and not for any.
    pub fn names_port(&self) -> bool {
        self.port.is_some()
    }

    /// Whether it is for this one address.
    pub fn names_address(&self) -> bool {
        matches!(self.host, HostPattern::Is(Host::Address(_)))
    }

    /// The same, with private addresses.
    #[must_use]
    pub fn with_private(self) -> Self {
        Self { private: true, ..self }
    }

    /// The same, for one address in place of what host it is for.
    #[must_use]
    pub fn at(self, address: IpAddr) -> Self {
        Self { host: HostPattern::Is(Host::Address(address)), ..self }
    }

    /// Whether every request that the other one takes is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        let methods = match (&self.methods, &other.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own.is_superset(other),
        };
        // An address that is named needs no `private`.
        let private = self.private || !other.private || self.names_address();
        methods
            && private
            && self.scheme == other.scheme
            && self.port.is_none_or(|port| other.port == Some(port))
            && self.host.covers(&other.host)
            // `*` takes no address that is not public: that must be named.
            && (!other.names_address() || self.names_address() || !other.needs_naming(self.private))
    }

    /// Whether it is for an address that a rule without it, with `private` or not, does not reach.
    fn needs_naming(&self, private: bool) -> bool {
        let HostPattern::Is(Host::Address(address)) = self.host else { return false };
        !super::Reach::of(private).allows(address)
    }

    /// One rule for each method; the rule itself where any is meant.
    pub(super) fn by_method(&self) -> Vec<Self> {
        match &self.methods {
            None => vec![self.clone()],
            Some(methods) => methods
                .iter()
                .map(|method| Self { methods: Some(BTreeSet::from([method.clone()])), ..self.clone() })
                .collect(),
        }
    }

    /// The same for these methods.
    pub(super) fn for_methods(&self, methods: BTreeSet<String>) -> Self {
        Self { methods: Some(methods), ..self.clone() }
    }

    /// The methods; none if any is meant.
    pub(super) fn methods(&self) -> Option<&BTreeSet<String>> {
        self.methods.as_ref()
    }
}

impl FromStr for HttpRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RIGHT: &str = "`http GET https://api.example.com` would be right";
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let private = words.last() == Some(&"private");
        if private {
            words.pop();
        }
        let (methods, url) = match words.as_slice() {
            [url] => (None, *url),
            [methods, url] => (Some(read_methods(methods)?), *url),
            _ => return Err(format!("has {} words; methods and a URL, {RIGHT}", words.len())),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("has no URL; {RIGHT}"))?;
        let scheme: Scheme = scheme.parse()?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@', ',']) {
            return Err(format!(
                "`{url}` has more than scheme, host and port, and nothing else is checked; {RIGHT}"
            ));
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None => Some(scheme.port()),
            Some("*") => None,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => Some(port),
                _ => {
                    return Err(format!("has the port `{port}`; 1 to 65535, or `*` for any, would be right"));
                }
            },
        };
        let host = match host.strip_prefix("*.") {
            _ if host == "*" => HostPattern::Any,
            Some(parent) => match Host::read(parent)? {
                Host::Name(name) => HostPattern::Below(name),
                Host::Address(_) => return Err(format!("`{host}` is no host: nothing is below an address")),
            },
            None => HostPattern::Is(Host::read(host)?),
        };
        Ok(Self { methods, scheme, host, port, private })
    }
}

/// Parts `HOST:PORT`; the colons of an IPv6 address are within its brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn read_methods(text: &str) -> Result<BTreeSet<String>, String> {
    text.split(',')
        .map(|method| {
            let method = method.to_ascii_uppercase();
            if method == "CONNECT" {
                return Err(
                    "has the method CONNECT, which is never granted: what it carries cannot be checked"
                        .into(),
                );
            }
            let fits = (1..=32).contains(&method.len())
                && method.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if fits {
                Ok(method)
            } else {
                Err(format!("has the method `{method}`; `GET,POST` would be right"))
            }
        })
        .collect()
}

impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(methods) = &self.methods {
            for (nth, method) in methods.iter().enumerate() {
                write!(f, "{}{method}", if nth == 0 { "" } else { "," })?;
            }
            f.write_str(" ")?;
        }
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        match self.port {
            None => f.write_str(":*")?,
            Some(port) if port != self.scheme.port() => write!(f, ":{port}")?,
            Some(_) => {}
        }
        if self.private { f.write_str(" private") } else { Ok(()) }
    }
}
