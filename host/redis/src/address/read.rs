//! Reading an address.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Address, Layout, Login, Place, TlsFiles};

const ONE: &str = "redis://[USER:PASSWORD@]HOST[:PORT][/DB]";
const UNIX: &str = "redis+unix:///PATH[?db=DB&user=USER&pass=PASSWORD]";
const CLUSTER: &str = "redis+cluster://[USER:PASSWORD@]HOST1[:PORT1],HOST2[:PORT2]";
const SENTINEL: &str = "redis+sentinel://[USER:PASSWORD@]HOST1[:26379],HOST2[:26379]/MASTER-NAME[/DB]";

/// A text that names no Redis: says what is wrong and what would be right, and has no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {what}; {} would be right", forms.join(" or "))]
pub struct InvalidAddress {
    text: String,
    what: String,
    forms: Vec<String>,
}

impl InvalidAddress {
    /// What is wrong with it, as the end of a sentence that begins with the text.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How it may be written.
    pub fn forms(&self) -> &[String] {
        &self.forms
    }
}

/// What is wrong.
type What = String;

pub(super) fn read(text: &str) -> Result<Address, InvalidAddress> {
    let wrong = |what: What, forms: &[&str]| {
        let tls = text.starts_with("rediss");
        let form = |form: &&str| if tls { form.replacen("redis", "rediss", 1) } else { form.to_string() };
        InvalidAddress { text: without_password(text), what, forms: forms.iter().map(form).collect() }
    };
    if text.contains('#') {
        return Err(wrong("has a `#`, which is written `%23` in a password or a path".into(), &[ONE, UNIX]));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(wrong("is not a URL".into(), &[ONE, UNIX, CLUSTER, SENTINEL]));
    };
    let (tls, kind) = match scheme.strip_prefix("rediss") {
        Some(kind) => (true, kind),
        None => (false, scheme.strip_prefix("redis").unwrap_or(scheme)),
    };
    match (kind, tls) {
        ("", _) => one(rest, tls).map_err(|what| wrong(what, &[ONE])),
        ("+unix" | "unix", false) => unix(rest).map_err(|what| wrong(what, &[UNIX])),
        ("+unix", true) => {
            let what = "asks for TLS on a socket of this computer, which needs none";
            Err(InvalidAddress { text: without_password(text), what: what.into(), forms: vec![UNIX.into()] })
        }
        ("+cluster", _) => cluster(rest, tls).map_err(|what| wrong(what, &[CLUSTER])),
        ("+sentinel", _) => sentinel(rest, tls).map_err(|what| wrong(what, &[SENTINEL])),
        _ => Err(wrong("is not a URL of Redis".into(), &[ONE, UNIX, CLUSTER, SENTINEL])),
    }
}

fn one(rest: &str, tls: bool) -> Result<Address, What> {
    let mut parts = Parts::read(rest, tls, 6379)?;
    let place = match parts.places.pop() {
        Some(place) if parts.places.is_empty() => place,
        _ => {
            return Err("names several hosts, which takes `+cluster` or `+sentinel` after `redis`".into());
        }
    };
    let database = if parts.path.is_empty() { 0 } else { database(parts.path)? };
    parts.end(Layout::One(place), database)
}

fn unix(rest: &str) -> Result<Address, What> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() < 2 {
        return Err("names no socket; its path begins with a `/`".into());
    }
    let mut query = Query::read(query)?;
    let number = query.take("db").map_or(Ok(0), |number| database(&number))?;
    let login = login(query.take("user"), query.take("pass"))?;
    let parts = Parts { places: Vec::new(), login, path: "", query, tls: None };
    parts.end(Layout::One(Place::Unix(decoded(path)?.into())), number)
}

fn cluster(rest: &str, tls: bool) -> Result<Address, What> {
    let mut parts = Parts::read(rest, tls, 6379)?;
    if !matches!(parts.path, "" | "0") {
        return Err(format!("names `{}` after the `/`, and a cluster has only the database 0", parts.path));
    }
    let places = std::mem::take(&mut parts.places);
    parts.end(Layout::Cluster(places), 0)
}

fn sentinel(rest: &str, tls: bool) -> Result<Address, What> {
    let mut parts = Parts::read(rest, tls, 26379)?;
    let (name, number) = parts.path.split_once('/').unwrap_or((parts.path, ""));
    let primary = decoded(name)?;
    if primary.is_empty() {
        return Err("does not say under which name the sentinels know the primary, often `/mymaster`".into());
    }
    let number = if number.is_empty() { 0 } else { database(number)? };
    let login = login(parts.query.take("sentinel-user"), parts.query.take("sentinel-pass"))?;
    let sentinels = std::mem::take(&mut parts.places);
    parts.end(Layout::Sentinel { sentinels, login, primary }, number)
}

/// What addresses by host have in common.
struct Parts<'a> {
    places: Vec<Place>,
    login: Login,
    /// What comes after the first `/`.
    path: &'a str,
    query: Query,
    tls: Option<TlsFiles>,
}

impl<'a> Parts<'a> {
    fn read(rest: &'a str, tls: bool, port: u16) -> Result<Self, What> {
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None if before.contains('@') => {
                return Err("has a `/` before the `@`; in a password it is written `%2F`".into());
            }
            None => (None, authority),
        };
        let places: Vec<_> =
            hosts.split(',').map(|host| place(host, port)).collect::<Result<_, _>>().map_err(|what| {
                match user {
                    None if query.contains('@') => {
                        "has a `?` before the `@`; in a password it is written `%3F`".into()
                    }
                    _ => what,
                }
            })?;
        let login = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            None => Login::default(),
            // A password alone before the `@` is a mistake that would else be a user who is not logged in.
            Some(_) if !user.is_some_and(|user| user.contains(':')) => {
                return Err("has no `:` before the `@`; a password alone is written `:PASSWORD@`".into());
            }
            Some((user, password)) => {
                login((!user.is_empty()).then(|| decoded(user)).transpose()?, Some(decoded(password)?))?
            }
        };
        let mut query = Query::read(query)?;
        let tls = tls_files(&mut query, tls)?;
        Ok(Self { places, login, path, query, tls })
    }

    fn end(mut self, layout: Layout, database: u32) -> Result<Address, What> {
        let resp3 = match self.query.take("protocol").as_deref() {
            None | Some("2" | "resp2") => false,
            Some("3" | "resp3") => true,
            Some(_) => return Err("has a parameter `protocol` that is neither `resp2` nor `resp3`".into()),
        };
        let known: &[&str] = match (&layout, &self.tls) {
            (Layout::One(Place::Unix(_)), _) => &["db", "user", "pass", "protocol"],
            (Layout::Sentinel { .. }, None) => &["sentinel-user", "sentinel-pass", "protocol"],
            (Layout::Sentinel { .. }, Some(_)) => {
                &["sentinel-user", "sentinel-pass", "tls-ca", "tls-cert", "tls-key", "protocol"]
            }
            (_, None) => &["protocol"],
            (_, Some(_)) => &["tls-ca", "tls-cert", "tls-key", "protocol"],
        };
        match self.query.0.pop() {
            None => Ok(Address { layout, login: self.login, database, resp3, tls: self.tls }),
            Some((name, _)) if name == "tls-insecure" => Err(
                "asks for TLS without a check of the server's certificate, which would let anyone listen; \
                 `tls-ca=FILE` names the authority that signed it"
                    .into(),
            ),
            Some((name, _)) => {
                Err(format!("has the parameter `{name}`, which is none of {}", known.join(", ")))
            }
        }
    }
}

fn tls_files(query: &mut Query, tls: bool) -> Result<Option<TlsFiles>, What> {
    let mut file = |name: &str| match query.take(name) {
        Some(_) if !tls => {
            Err(format!("has the parameter `{name}`, but speaks TLS only with `rediss` before the `:`"))
        }
        Some(path) if path.is_empty() => Err(format!("has the parameter `{name}` without a file")),
        path => Ok(path.map(Into::into)),
    };
    let (authority, certificate, key) = (file("tls-ca")?, file("tls-cert")?, file("tls-key")?);
    let own = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err("has `tls-cert` without the `tls-key` that belongs to it".into()),
        (None, Some(_)) => return Err("has `tls-key` without the `tls-cert` that belongs to it".into()),
    };
    Ok(tls.then_some(TlsFiles { authority, own }))
}

fn login(user: Option<String>, password: Option<String>) -> Result<Login, What> {
    if user.is_some() && password.is_none() {
        return Err("names a user without a password".into());
    }
    Ok(Login { user, password })
}

/// `HOST[:PORT]`
fn place(text: &str, default_port: u16) -> Result<Place, What> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((host, port)) = rest.split_once(']') else {
                return Err("has a `[` without a `]`".into());
            };
            if host.parse::<Ipv6Addr>().is_err() {
                return Err("has something in brackets that is not an IPv6 address".into());
            }
            match port.strip_prefix(':') {
                None if !port.is_empty() => return Err("has something between the `]` and the port".into()),
                port => (host, port),
            }
        }
        None if text.parse::<Ipv6Addr>().is_ok() => {
            return Err(format!("has an IPv6 address without brackets; it is written `[{text}]`"));
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err("names no host".into());
    }
    if !text.starts_with('[') && !host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)) {
        return Err("has a host with a character that no host's name has".into());
    }
    let any = host.parse() == Ok(Ipv4Addr::UNSPECIFIED) || host.parse() == Ok(Ipv6Addr::UNSPECIFIED);
    if any {
        return Err("names `all addresses`, where only one can be reached".into());
    }
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or("has a port that is not a number from 1 to 65535")?,
    };
    Ok(Place::Tcp(host.into(), port))
}

fn database(number: &str) -> Result<u32, What> {
    let number = number.strip_suffix('/').unwrap_or(number);
    number.parse().map_err(|_| format!("names the database `{number}`, which is not a number"))
}

/// Parameters that were not used yet.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: &str) -> Result<Self, What> {
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if found.iter().any(|(known, _)| known == name) {
                return Err(format!("has the parameter `{name}` twice"));
            }
            found.push((name.into(), decoded(value)?));
        }
        Ok(Self(found))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(index).1)
    }
}

/// Without percent-encoding.
fn decoded(text: &str) -> Result<String, What> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (Some(code), Some(rest)) =
            (code.and_then(|code| u8::from_str_radix(code, 16).ok()), part.get(2..))
        else {
            return Err(
                "has a `%` without two hexadecimal digits after it; a `%` itself is written `%25`".into()
            );
        };
        bytes.push(code);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| "has percent-encoded bytes that are not UTF-8".into())
}

/// An address, or a text that should have been one, as it may be shown: what is or could be a password is left out.
pub fn without_password(text: &str) -> String {
    let (text, fragment) = text.split_once('#').map_or((text, None), |(text, key)| (text, Some(key)));
    // Where a password has a `#`, the host comes after it.
    let split_password = fragment.is_some_and(|key| key.contains('@')) && !text.contains('@');
    let fragment =
        fragment.map(|key| if split_password { "…".into() } else { format!("#{key}") }).unwrap_or_default();
    let (start, end) = match text.split_once("pass=") {
        Some((start, _)) => (start, "pass=…"),
        None => (text, ""),
    };
    let (scheme, rest) = match start.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), start),
    };
    let (hidden, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", rest),
    };
    // What stands where a port should be may be the password of somebody who forgot the host.
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(authority_end).unwrap_or((rest, ""));
    let authority: Vec<String> = authority
        .split(',')
        .map(|place| match place.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_err() => format!("{host}:…"),
            _ => place.into(),
        })
        .collect();
    format!("{scheme}{hidden}{}{path}{end}{fragment}", authority.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Address {
        super::read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn addresses_are_read_with_their_defaults_and_shown_without_passwords() {
        let table = [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://localhost:7000/3", "redis://localhost:7000/3"),
            ("redis://:secret%23@localhost/", "redis://localhost:6379/0"),
            ("redis://me:secret@[::1]:7000/3?protocol=resp3", "redis://[::1]:7000/3"),
            ("rediss://me:secret@r.example.com", "rediss://r.example.com:6379/0"),
            ("rediss://r?tls-ca=/ca&tls-cert=/c&tls-key=/k", "rediss://r:6379/0"),
            ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock?db=0"),
            ("unix:///run/a%20b?db=2&user=me&pass=secret", "redis+unix:///run/a b?db=2"),
            ("redis+cluster://me:secret@a,b:7000,[::1]", "redis+cluster://a:6379,b:7000,[::1]:6379"),
            ("rediss+cluster://a:1/0", "rediss+cluster://a:1"),
            ("redis+sentinel://a,b:1/mymaster", "redis+sentinel://a:26379,b:1/mymaster/0"),
            (
                "rediss+sentinel://:secret@a/m/2?sentinel-user=s&sentinel-pass=secret",
                "rediss+sentinel://a:26379/m/2",
            ),
        ];
        for (text, shown) in table {
            let address = read(text);
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(format!("{address:?}"), format!("Address({shown})"));
            assert_eq!(address, read(text));
            assert_eq!(
                read(&shown.replace(' ', "%20")).to_string(),
                shown,
                "what is shown is an address, too"
            );
        }
        let login = |user: Option<&str>, password: &str| Login {
            user: user.map(Into::into),
            password: Some(password.into()),
        };
        assert!(read("redis://me:p%23%2Fw:@a").login == login(Some("me"), "p#/w:"));
        assert!(read("redis://:a@b@c").login == login(None, "a@b"));
        assert!(read("unix:///s?pass=a%26b").login == login(None, "a&b"));
        let sentinel = read("redis+sentinel://x:y@a/m?sentinel-user=s&sentinel-pass=t");
        assert!(sentinel.login == login(Some("x"), "y"));
        assert!(matches!(sentinel.layout, Layout::Sentinel { login: of, .. } if of == login(Some("s"), "t")));
    }

    #[test]
    fn what_a_person_may_paste_reaches_the_same_database_and_has_no_password() {
        let table = [
            ("redis://me:secret@localhost/", "-h localhost -p 6379 -n 0 --user 'me' --askpass"),
            ("unix:///a%20b?pass=secret&db=3", "-s '/a b' -n 3 --askpass"),
            (
                "rediss://h:1?tls-ca=/it's&tls-cert=/c&tls-key=/k",
                r"-h h -p 1 -n 0 --tls --cacert '/it'\''s' --cert '/c' --key '/k'",
            ),
            ("redis+cluster://:secret@a,b", "-c -h a -p 6379 --askpass"),
            ("redis+sentinel://:secret@a,b/m/1?sentinel-pass=x", "-h a -p 26379 --askpass"),
        ];
        for (text, options) in table {
            assert_eq!(read(text).redis_cli_options(), options, "{text}");
        }
        let sentinel = read("redis+sentinel://:secret@a,b/m/1");
        assert_eq!(sentinel.redis_cli_options_at("[::1]:7"), "-h ::1 -p 7 -n 1 --askpass");
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong_and_what_would_be_right_and_never_the_password() {
        let table = [
            ("localhost:6379", "is not a URL; redis://[USER"),
            ("http://localhost", "is not a URL of Redis"),
            ("rediss+unix:///s", "asks for TLS on a socket of this computer"),
            ("redis://", "names no host"),
            ("redis://:6379", "names no host"),
            ("redis://:secret@:6379", "names no host"),
            ("redis+cluster://a,,b", "names no host; redis+cluster://"),
            ("redis://localhost:port", "a port that is not a number"),
            ("redis://localhost:0", "a port that is not a number"),
            ("redis://u:secret@localhost:70000", "a port that is not a number"),
            ("redis://user:secret", "a port that is not a number"),
            ("redis://secret@localhost", "has no `:` before the `@`"),
            ("redis://u:hid/den@localhost", "`%2F`"),
            ("redis://u:hid?den@localhost", "`%3F`"),
            ("redis://u:hid#den@localhost", "`%23`"),
            ("redis://u:secret%zz@localhost", "`%25`"),
            ("redis://u:secret%ff@localhost", "not UTF-8"),
            ("redis://u:secret@local host", "a character that no host's name has"),
            ("redis://u:secret@$(reboot)", "a character that no host's name has"),
            ("redis://::1", "`[::1]`"),
            ("redis://[::1", "has a `[` without a `]`"),
            ("redis://[localhost]", "not an IPv6 address"),
            ("redis://0.0.0.0", "all addresses"),
            ("redis://a,b", "names several hosts"),
            ("redis://localhost/one", "names the database `one`"),
            ("redis://localhost/-1", "names the database `-1`"),
            ("redis+cluster://a/3", "only the database 0"),
            ("redis+sentinel://a", "under which name"),
            ("redis+sentinel://a/m/x", "names the database `x`"),
            ("redis://localhost?db=1", "the parameter `db`, which is none of protocol"),
            ("redis://localhost?protocol=4", "neither `resp2` nor `resp3`"),
            ("redis://localhost?tls-ca=/ca", "only with `rediss`"),
            ("rediss://localhost?tls-insecure", "which would let anyone listen"),
            ("rediss://localhost?tls-cert=/c", "without the `tls-key`"),
            ("rediss://localhost?tls-ca=", "without a file"),
            ("redis+unix://socket", "names no socket; its path begins with a `/`; redis+unix:///PATH"),
            ("unix:///s?pass=secret&db=x", "names the database `x`"),
            ("unix:///s?db=1&db=2", "`db` twice"),
            ("unix:///s?user=me", "a user without a password"),
            ("redis+sentinel://a/m?sentinel-pass=secret@x&y=z", "the parameter `y`"),
        ];
        for (text, part) in table {
            let error = super::read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(["secret", "hid", "den"].iter().all(|part| !error.contains(part)), "{text}: {error}");
            assert!(error.ends_with("would be right"), "{text}: {error}");
        }
    }
}
