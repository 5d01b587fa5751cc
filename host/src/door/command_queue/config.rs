//! Which queue to read.

use std::{fmt, str::FromStr};

use ays_core::command::DEFAULT_LIMIT_BYTES;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// The key that AYS used.
pub const DEFAULT_KEY: &str = "db:queue:command";

const FORMS: &str =
    "redis://[USER:PASSWORD@]HOST[:PORT][/DB][#KEY] or redis+unix:///PATH[?db=DB][#KEY] would be right";

/// Which queue to read: the server, the logical database and the list's key.
///
/// Read from `redis://[USER:PASSWORD@]HOST[:PORT][/DB][#KEY]`, `redis+unix:///PATH[?db=DB&user=USER&pass=PASSWORD][#KEY]`
/// or the same with `unix://`. Port 6379, database 0 and key [`DEFAULT_KEY`] are the defaults. User and password are
/// percent-encoded where they have characters that mean something in a URL (`#` is `%23`); the key is not: all that
/// comes after the first `#` is the key.
///
/// Written out, and in the debug form, it is without user and password.
#[derive(Clone)]
pub struct Config {
    connection: ConnectionInfo,
    key: String,
    server: String,
    limit_bytes: usize,
}

/// A URL that names no queue: says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

impl Config {
    /// The list's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same queue, read with another limit for the length of an entry, in bytes; longer ones go to the dead-letter
    /// list. 1 MiB by default.
    #[must_use]
    pub fn with_entry_limit(self, bytes: usize) -> Self {
        Self { limit_bytes: bytes, ..self }
    }

    /// The largest entry that is taken, in bytes.
    pub(super) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// How to reach the server.
    pub(super) fn connection(&self) -> ConnectionInfo {
        self.connection.clone()
    }

    /// The server and the database, without user and password.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The options with which redis-cli reaches the same database.
    pub(super) fn redis_cli_options(&self) -> String {
        let place = match self.connection.addr() {
            ConnectionAddr::Unix(path) => format!("-s '{}'", path.display()),
            ConnectionAddr::Tcp(host, port) => format!("-h {host} -p {port}"),
            _ => String::new(),
        };
        let ask = if self.connection.redis_settings().password().is_some() { " --askpass" } else { "" };
        let user = self.connection.redis_settings().username().map(|user| format!(" --user '{user}'"));
        format!("{place} -n {}{}{ask}", self.connection.redis_settings().db(), user.unwrap_or_default())
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.server, self.key)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({self})")
    }
}

impl FromStr for Config {
    type Err = InvalidConfig;

    fn from_str(url: &str) -> Result<Self, InvalidConfig> {
        let wrong = |what: &str| InvalidConfig(format!("`{}` {what}; {FORMS}", without_password(url)));
        let (base, key) = url.split_once('#').map_or((url, None), |(base, key)| (base, Some(key)));
        let key = key.unwrap_or(DEFAULT_KEY);
        if key.is_empty() {
            return Err(wrong("has an empty key after the `#`"));
        }
        let Some((scheme, rest)) = base.split_once("://") else {
            return Err(wrong("is not a URL"));
        };
        if key.contains('@') && !rest.contains('@') {
            return Err(wrong("has a `#` before the `@`, where a password has it as `%23`"));
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let known: &[&str] = match scheme {
            "redis" => {
                let authority = path.split('/').next().unwrap_or_default();
                let host = authority.rsplit('@').next().unwrap_or_default();
                if host.is_empty() || host.starts_with(':') {
                    return Err(wrong("names no host"));
                }
                let port =
                    host.rsplit(']').next().and_then(|host| host.split_once(':')).map(|(_, port)| port);
                if port.is_some_and(|port| port.parse::<u16>().is_err()) {
                    return Err(wrong("has a port that is not a number from 0 to 65535"));
                }
                if let Some((_, database)) = path.split_once('/')
                    && !database.is_empty()
                {
                    check_database(database).map_err(|what| wrong(&what))?;
                }
                &["protocol"]
            }
            "redis+unix" | "unix" => {
                if !path.starts_with('/') || path.len() < 2 {
                    return Err(wrong("names no socket; its path begins with a `/`"));
                }
                &["db", "user", "pass", "protocol"]
            }
            "rediss" => {
                return Err(wrong(
                    "asks for TLS, which this host does not speak to a command queue; a tunnel, as stunnel \
                                  makes one, helps",
                ));
            }
            _ => return Err(wrong("is not a URL of Redis")),
        };
        for (name, value) in query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            if !known.contains(&name) {
                return Err(wrong(&format!(
                    "has the parameter `{name}`, which is none of {}",
                    known.join(", ")
                )));
            }
            if name == "db" {
                check_database(value).map_err(|what| wrong(&what))?;
            }
        }
        let connection = base.into_connection_info().map_err(|error| {
            wrong(&format!("cannot be read ({})", error.detail().unwrap_or("it is not a valid URL")))
        })?;
        let database = connection.redis_settings().db();
        let server = match connection.addr() {
            ConnectionAddr::Unix(path) => format!("redis+unix://{}?db={database}", path.display()),
            ConnectionAddr::Tcp(host, port) if host.contains(':') => {
                format!("redis://[{host}]:{port}/{database}")
            }
            address => format!("redis://{address}/{database}"),
        };
        let settings =
            connection.redis_settings().clone().set_lib_name("ays-host", env!("CARGO_PKG_VERSION"));
        let connection = connection.set_redis_settings(settings);
        Ok(Self { connection, key: key.into(), server, limit_bytes: DEFAULT_LIMIT_BYTES })
    }
}

fn check_database(database: &str) -> Result<(), String> {
    match database.parse::<u32>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("names the database `{database}`, which is not a number")),
    }
}

/// The URL as it may be shown: what could be a password is left out.
fn without_password(url: &str) -> String {
    let shown = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://…{}", url.get(..scheme).unwrap_or_default(), url.get(at..).unwrap_or_default())
        }
        _ => url.into(),
    };
    match (shown.split_once("pass="), shown.split_once('#')) {
        (Some((before, _)), Some((_, key))) => format!("{before}pass=…#{key}"),
        (Some((before, _)), None) => format!("{before}pass=…"),
        (None, _) => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_their_defaults_and_shown_without_passwords() {
        let table = [
            ("redis://localhost", "redis://localhost:6379/0#db:queue:command"),
            ("redis://localhost:7000/3", "redis://localhost:7000/3#db:queue:command"),
            ("redis://:p%23w@localhost/", "redis://localhost:6379/0#db:queue:command"),
            ("redis://me:secret@[::1]:7000/3#a#b%20c", "redis://[::1]:7000/3#a#b%20c"),
            ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock?db=0#db:queue:command"),
            ("unix:///run/redis.sock?db=2&user=me&pass=secret#q", "redis+unix:///run/redis.sock?db=2#q"),
        ];
        for (url, shown) in table {
            let config: Config = url.parse().unwrap();
            assert_eq!(config.to_string(), shown, "{url}");
            assert!(!format!("{config:?}").contains("secret"));
        }
        let config: Config = "redis://me:p%23w@localhost/".parse().unwrap();
        assert_eq!(config.connection().redis_settings().password(), Some("p#w"));
        assert_eq!(config.redis_cli_options(), "-h localhost -p 6379 -n 0 --user 'me' --askpass");
    }

    #[test]
    fn wrong_urls_say_what_is_wrong_and_never_the_password() {
        let table = [
            ("localhost:6379", "is not a URL;"),
            ("http://localhost", "is not a URL of Redis"),
            ("rediss://localhost", "asks for TLS"),
            ("redis://", "names no host"),
            ("redis://:6379", "names no host"),
            ("redis://:secret@:6379", "names no host"),
            ("redis://localhost:port", "a port that is not a number"),
            ("redis://u:secret@localhost:70000", "a port that is not a number"),
            ("redis://localhost/one", "names the database `one`"),
            ("redis://localhost/-1", "names the database `-1`"),
            ("redis://localhost#", "an empty key"),
            ("redis://localhost?db=1", "the parameter `db`"),
            ("redis://u:sec#ret@localhost", "`%23`"),
            ("redis+unix://socket", "names no socket"),
            ("unix:///s?pass=secret&db=x#k", "names the database `x`"),
            ("redis://u:secret@local host", "cannot be read"),
        ];
        for (url, part) in table {
            let error = url.parse::<Config>().unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("sec"), "{url}: {error}");
        }
    }
}
