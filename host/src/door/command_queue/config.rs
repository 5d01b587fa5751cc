//! Which queue to read.

use std::{fmt, str::FromStr, sync::Arc};

use ays_core::command::DEFAULT_LIMIT_BYTES;
use ays_redis::{Address, Server, without_password};

/// The key that AYS used.
pub const DEFAULT_KEY: &str = "db:queue:command";

/// Which queue to read: where Redis is, and the list's key.
///
/// Read from an [`Address`] and `#KEY`, as `redis://[USER:PASSWORD@]HOST[:PORT][/DB][#KEY]`; without the latter, the key is
/// [`DEFAULT_KEY`]. Nothing is percent-encoded in the key: all that comes after the first `#` is the key.
///
/// Written out, and in the debug form, it is without user and password.
#[derive(Clone)]
pub struct Config {
    server: Arc<Server>,
    key: String,
    limit_bytes: usize,
}

/// A URL that names no queue: says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

impl Config {
    /// The queue of the usual name at this address.
    ///
    /// # Errors
    /// If a file that the address names cannot be used.
    pub fn new(address: Address) -> Result<Self, InvalidConfig> {
        let server = Server::new(address).map_err(|error| InvalidConfig(error.to_string()))?;
        Ok(Self { server: Arc::new(server), key: DEFAULT_KEY.into(), limit_bytes: DEFAULT_LIMIT_BYTES })
    }

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

    /// How to reach Redis.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Where Redis is, without user and password.
    pub(super) fn address(&self) -> &Address {
        self.server.address()
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.address(), self.key)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({self})")
    }
}

impl FromStr for Config {
    type Err = InvalidConfig;

    /// Reads the files that the URL names, too, so that what is wrong with them is said at the start.
    fn from_str(url: &str) -> Result<Self, InvalidConfig> {
        let wrong = |what: &str, forms: &[String]| {
            let forms: Vec<_> = forms.iter().map(|form| format!("{form}[#KEY]")).collect();
            InvalidConfig(format!(
                "`{}` {what}; {} would be right",
                without_password(url),
                forms.join(" or ")
            ))
        };
        let one = ["redis://[USER:PASSWORD@]HOST[:PORT][/DB]".to_string()];
        let (base, key) = url.split_once('#').unwrap_or((url, DEFAULT_KEY));
        if key.is_empty() {
            return Err(wrong("has an empty key after the `#`", &one));
        }
        if key.contains('@') && !base.contains('@') {
            return Err(wrong("has a `#` before the `@`, where a password has it as `%23`", &one));
        }
        let address: Address =
            base.parse().map_err(|error: ays_redis::InvalidAddress| wrong(error.what(), error.forms()))?;
        Ok(Self { key: key.into(), ..Self::new(address)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_and_a_key_and_is_shown_without_passwords() {
        let table = [
            ("redis://localhost", "redis://localhost:6379/0#db:queue:command"),
            ("redis://:p%23w@localhost/", "redis://localhost:6379/0#db:queue:command"),
            ("redis://me:secret@[::1]:7000/3#a#b%20c", "redis://[::1]:7000/3#a#b%20c"),
            ("unix:///run/redis.sock?db=2&user=me&pass=secret#q", "redis+unix:///run/redis.sock?db=2#q"),
            ("redis+cluster://:secret@a,b#q@c", "redis+cluster://a:6379,b:6379#q@c"),
            ("rediss+sentinel://a/m", "rediss+sentinel://a:26379/m/0#db:queue:command"),
        ];
        for (url, shown) in table {
            let config: Config = url.parse().unwrap();
            assert_eq!(config.to_string(), shown, "{url}");
            assert!(!format!("{config:?}").contains("secret"));
        }
    }

    #[test]
    fn wrong_urls_say_what_is_wrong_and_never_the_password() {
        let table = [
            ("http://localhost", "is not a URL of Redis; redis://"),
            ("redis://localhost#", "an empty key"),
            ("redis://localhost:port#q", "a port that is not a number from 1 to 65535; redis://[USER"),
            ("redis://u:sec#ret@localhost", "`%23`"),
            ("unix:///s?pass=secret&db=x#k", "which is not a number; redis+unix:///PATH[?db=DB&"),
            ("rediss://:secret@h?tls-ca=/none.pem", "cannot use /none.pem as `tls-ca`"),
        ];
        for (url, part) in table {
            let error = url.parse::<Config>().unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("sec"), "{url}: {error}");
        }
    }
}
