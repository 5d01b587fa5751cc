//! Which Redis: what a person writes to name a server, a cluster or a set of sentinels.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use redis::ProtocolVersion;

mod read;

pub use read::{InvalidAddress, without_password};

/// Which Redis, with which user, password, database and TLS files.
///
/// | written as | means |
/// |---|---|
/// | `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one server, port 6379 and database 0 unless said otherwise; a node of a cluster leads to the others |
/// | `redis+unix:///PATH[?db=DB&user=USER&pass=PASSWORD]`, `unix://…` | one server, by its socket |
/// | `redis+cluster://[USER:PASSWORD@]HOST1[:PORT1],HOST2[:PORT2]…` | a cluster, found by any of these nodes |
/// | `redis+sentinel://[USER:PASSWORD@]HOST1[:26379],HOST2[:26379]…/MASTER-NAME[/DB][?sentinel-user=USER&sentinel-pass=PASSWORD]` | the primary that these sentinels name |
///
/// `rediss` instead of `redis` speaks TLS. The server's certificate is checked, by the authority in `?tls-ca=FILE` or else
/// by those of the operating system; `tls-cert=FILE&tls-key=FILE` is the certificate that this side shows. All are PEM.
/// `protocol=resp3` speaks RESP3.
///
/// What means something in a URL is percent-encoded in user, password, path and values: `#` is `%23`, `@` is `%40`, `/`
/// is `%2F`.
///
/// Written out, and in the debug form, it is without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) layout: Layout,
    pub(crate) login: Login,
    pub(crate) database: u32,
    pub(crate) resp3: bool,
    pub(crate) tls: Option<TlsFiles>,
}

/// How the servers are arranged.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    One(Place),
    Cluster(Vec<Place>),
    Sentinel { sentinels: Vec<Place>, login: Login, primary: String },
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An IPv6 address is without its brackets here.
    Tcp(String, u16),
    Unix(PathBuf),
}

/// Who logs in. Without a password, nobody does.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) authority: Option<PathBuf>,
    /// This side's certificate and its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
}

impl Address {
    /// The options with which redis-cli reaches the same database, for a command that a person may paste into a shell;
    /// for a cluster any node, for sentinels the first sentinel. They never have the password: redis-cli asks for it.
    pub fn redis_cli_options(&self) -> String {
        match &self.layout {
            Layout::One(place) => self.options(place),
            Layout::Cluster(places) => {
                let place = places.first().map(|place| self.options(place));
                format!("-c {}", place.unwrap_or_default())
            }
            Layout::Sentinel { sentinels, login, .. } => {
                let place = sentinels.first().map(options_of_place).unwrap_or_default();
                format!("{place}{}{}", options_of_login(login), self.options_of_tls())
            }
        }
    }

    /// The options with which redis-cli reaches one node, which is named as in [`Connection::node`](crate::Connection::node).
    pub fn redis_cli_options_at(&self, node: &str) -> String {
        Place::of_node(node).map_or_else(|| self.redis_cli_options(), |place| self.options(&place))
    }

    fn options(&self, place: &Place) -> String {
        let database = match self.layout {
            Layout::Cluster(_) => String::new(),
            _ => format!(" -n {}", self.database),
        };
        let place_options = options_of_place(place);
        let tls = if matches!(place, Place::Tcp(..)) { self.options_of_tls() } else { String::new() };
        format!("{place_options}{database}{}{tls}", options_of_login(&self.login))
    }

    fn options_of_tls(&self) -> String {
        let Some(files) = &self.tls else { return String::new() };
        let mut options = String::from(" --tls");
        let mut add = |option: &str, file: &Path| {
            options += &format!(" {option} {}", quoted(&file.display().to_string()));
        };
        if let Some(authority) = &files.authority {
            add("--cacert", authority);
        }
        if let Some((certificate, key)) = &files.own {
            add("--cert", certificate);
            add("--key", key);
        }
        options
    }

    pub(crate) fn protocol(&self) -> ProtocolVersion {
        if self.resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 }
    }
}

fn options_of_place(place: &Place) -> String {
    match place {
        Place::Unix(path) => format!("-s {}", quoted(&path.display().to_string())),
        Place::Tcp(host, port) => format!("-h {host} -p {port}"),
    }
}

fn options_of_login(login: &Login) -> String {
    let user = login.user.as_ref().map(|user| format!(" --user {}", quoted(user))).unwrap_or_default();
    let ask = if login.password.is_some() { " --askpass" } else { "" };
    format!("{user}{ask}")
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Place {
    /// Reads what `Display` writes.
    pub(crate) fn of_node(node: &str) -> Option<Self> {
        if node.starts_with('/') {
            return Some(Self::Unix(node.into()));
        }
        let (host, port) = node.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Self::Tcp(host.into(), port.parse().ok()?))
    }

    /// A node that does not know its own host names none. It is then the host by which the node was reached that told.
    pub(crate) fn seen_from(self, asked: &Self) -> Self {
        match (self, asked) {
            (Self::Tcp(host, port), Self::Tcp(asked, _)) if host.is_empty() || host == "?" => {
                Self::Tcp(asked.clone(), port)
            }
            (place, _) => place,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// `a:1,b:2`
pub(crate) fn listed(places: &[Place]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let database = self.database;
        match &self.layout {
            Layout::One(place @ Place::Unix(_)) => write!(f, "redis+unix://{place}?db={database}"),
            Layout::One(place) => write!(f, "{scheme}://{place}/{database}"),
            Layout::Cluster(places) => write!(f, "{scheme}+cluster://{}", listed(places)),
            Layout::Sentinel { sentinels, primary, .. } => {
                write!(f, "{scheme}+sentinel://{}/{primary}/{database}", listed(sentinels))
            }
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        read::read(text)
    }
}
