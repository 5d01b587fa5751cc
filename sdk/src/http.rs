//! Outbound HTTP.
//!
//! The actor asks for it, `#[actor(capabilities = ["http GET,POST https://api.example.com"])]`, and the operator grants it. What
//! was requested cannot be taken back: when the action fails it is run again, and requests again. So give a server
//! that takes one the job's id as an idempotency key.
//!
//! ```no_run
//! # use ays_sdk::{Job, Result, http, secrets, serde_json::{Value, json}};
//! # fn f(job: &Job) -> Result<()> {
//! let weather: Value = http::get("https://api.example.com/weather").send()?.success()?.json()?;
//! http::post("https://api.example.com/orders")
//!     .header("authorization", format!("Bearer {}", secrets::get("api_key")?))
//!     .header("idempotency-key", &job.id)
//!     .json(&json!({"units": 3}))?
//!     .send()?
//!     .success()?;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use wasip2::{
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
            RequestOptions, Scheme, http_error_code,
        },
    },
    io::streams::StreamError,
};

use crate::{Error, Result, bindings::ays::actor::capabilities, error::denied};

/// How many redirects are followed unless the request says otherwise.
const REDIRECTS: u32 = 10;
/// The bytes of one write; the host takes no more of a body at a time.
const WRITE: usize = 4096;
/// The bytes of one read.
const READ: u64 = 64 << 10;

/// A `GET` request.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A `POST` request.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A `PUT` request.
pub fn put(url: impl Into<String>) -> Request {
    Request::new("PUT", url)
}

/// A `DELETE` request.
pub fn delete(url: impl Into<String>) -> Request {
    Request::new("DELETE", url)
}

/// A request that is being made up.
#[derive(Clone, Debug)]
#[must_use = "a request is made by `send`"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
    redirects: u32,
}

impl Request {
    /// A request by this method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            redirects: REDIRECTS,
        }
    }

    /// With a further header. `host`, `connection` and others that are the connection's own are the host's to set.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With this value as JSON for its body.
    ///
    /// # Errors
    /// If the value has no JSON form.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(value)
            .map_err(|error| Error::fatal(format_args!("the body has no JSON form: {error}")))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// How long connecting, the first byte of the answer, and each further one may take, if that is less than the host
    /// allows.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many redirects are followed; 10 if it is not said, 0 for none. Each is held against what the actor was
    /// granted. `authorization` and `cookie` do not go to another host.
    pub fn redirects(mut self, most: u32) -> Self {
        self.redirects = most;
        self
    }

    /// Makes the request, and reads the whole answer. Whatever its status is, an answer is no error: see
    /// [`Response::success`].
    ///
    /// # Errors
    /// If the actor was not granted it, or there was no answer.
    pub fn send(mut self) -> Result<Response> {
        let mut left = self.redirects;
        loop {
            let response = self.exchange()?;
            let Some(location) = response.redirect().filter(|_| self.redirects > 0) else {
                return Ok(response);
            };
            if left == 0 {
                return Err(Error::new(format_args!(
                    "{}: more than {} redirects",
                    self.name(),
                    self.redirects
                )));
            }
            left -= 1;
            self.follow(response.status, &location)?;
        }
    }

    /// The request for messages, without what may be secret in its URL.
    fn name(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        format!("{} {url}", self.method)
    }

    fn follow(&mut self, status: u16, location: &str) -> Result<()> {
        let old = Url::read(&self.url)?;
        let url = old.join(location);
        if Url::read(&url)?.origin() != old.origin() {
            let stays =
                |name: &str| !["authorization", "cookie"].contains(&name.to_ascii_lowercase().as_str());
            self.headers.retain(|(name, _)| stays(name));
        }
        // https://www.rfc-editor.org/rfc/rfc9110#section-15.4: 307 and 308 keep the method, 303 does not, and of 301 and
        // 302 all clients make GET where it was POST.
        let becomes_get = match status {
            303 => self.method != "HEAD",
            301 | 302 => self.method == "POST",
            _ => false,
        };
        if becomes_get {
            self.method = "GET".into();
            self.body.clear();
            self.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
        }
        self.url = url;
        Ok(())
    }

    fn exchange(&self) -> Result<Response> {
        let fail = |error: ErrorCode| failed(&self.name(), &error);
        let url = Url::read(&self.url)?;
        let invalid = |what: &str| Error::fatal(format_args!("{}: {what}", self.name()));
        let headers = Fields::new();
        for (name, value) in &self.headers {
            let added = headers.append(name, value);
            added.map_err(|error| invalid(&format!("the header `{name}`: {error}")))?;
        }
        if !self.body.is_empty() {
            let length = self.body.len().to_string();
            let set = headers.set("content-length", &[length.into_bytes()]);
            set.map_err(|error| invalid(&format!("the header `content-length`: {error}")))?;
        }
        let request = OutgoingRequest::new(headers);
        request.set_method(&method(&self.method)).map_err(|()| invalid("the method is none"))?;
        let scheme = if url.scheme == "http" { Scheme::Http } else { Scheme::Https };
        request.set_scheme(Some(&scheme)).map_err(|()| invalid("the scheme is none"))?;
        request.set_authority(Some(url.authority)).map_err(|()| invalid("the URL names no host"))?;
        request.set_path_with_query(Some(&url.path)).map_err(|()| invalid("the URL's path is none"))?;
        let options = RequestOptions::new();
        if let Some(timeout) = self.timeout {
            let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            let unsupported = |()| invalid("the host supports no timeouts");
            options.set_connect_timeout(Some(nanos)).map_err(unsupported)?;
            options.set_first_byte_timeout(Some(nanos)).map_err(unsupported)?;
            options.set_between_bytes_timeout(Some(nanos)).map_err(unsupported)?;
        }
        let body = request.body().map_err(|()| invalid("the request has no body"))?;
        let answer = outgoing_handler::handle(request, Some(options)).map_err(fail)?;
        let sent = write(body, &self.body);
        answer.subscribe().block();
        // What became of the request says more than that its body could not be written.
        let response = match answer.get() {
            Some(Ok(response)) => response.map_err(fail)?,
            Some(Err(())) | None => return Err(invalid("there is no answer")),
        };
        sent.map_err(|what| Error::new(format_args!("{}: {what}", self.name())))?;
        read(&response).map_err(|what| Error::new(format_args!("{}: {what}", self.name())))
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.into()),
    }
}

/// Why there is no answer.
fn failed(request: &str, error: &ErrorCode) -> Error {
    match error {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            let why = capabilities::denial().unwrap_or_else(|| format!("denied: {error}"));
            denied(request, &why)
        }
        ErrorCode::InternalError(Some(why)) => Error::new(format_args!("{request}: {why}")),
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => {
            Error::fatal(format_args!("{request}: {error}"))
        }
        _ => Error::new(format_args!("{request}: {error}")),
    }
}

fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), String> {
    {
        let stream = body.write().map_err(|()| "the body was written before".to_owned())?;
        for chunk in bytes.chunks(WRITE) {
            stream
                .blocking_write_and_flush(chunk)
                .map_err(|error| stream_error("sending the body", &error))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(|error| format!("sending the body: {error}"))
}

fn read(response: &IncomingResponse) -> Result<Response, String> {
    let status = response.status();
    let headers = response.headers().entries();
    let body = response.consume().map_err(|()| "the answer was read before".to_owned())?;
    let mut bytes = Vec::new();
    {
        let stream = body.stream().map_err(|()| "the answer was read before".to_owned())?;
        loop {
            match stream.blocking_read(READ) {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(StreamError::Closed) => break,
                Err(error) => return Err(stream_error("reading the answer", &error)),
            }
        }
    }
    drop(IncomingBody::finish(body));
    Ok(Response { status, headers, body: bytes })
}

fn stream_error(doing: &str, error: &StreamError) -> String {
    match error {
        StreamError::Closed => format!("{doing}: the connection was closed"),
        StreamError::LastOperationFailed(error) => match http_error_code(error) {
            Some(ErrorCode::InternalError(Some(why))) => format!("{doing}: {why}"),
            Some(code) => format!("{doing}: {code}"),
            None => format!("{doing}: {}", error.to_debug_string()),
        },
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    /// Its status, as 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name, if it is text; case does not count.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body, read as JSON.
    ///
    /// # Errors
    /// If it is not JSON, or does not fit.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::new(format_args!("the answer ({}) does not fit: {error}", self.status)))
    }

    /// The answer, if its status tells of success (200 to 299).
    ///
    /// # Errors
    /// Another status. What a client did wrong (400 to 499, but for 408, 425 and 429) is not tried again.
    pub fn success(self) -> Result<Self> {
        let status = self.status;
        if (200..300).contains(&status) {
            return Ok(self);
        }
        let text: String = self.text().chars().take(200).collect();
        let message = format!("the server answered {status}: {text}");
        let again = !(400..500).contains(&status) || [408, 425, 429].contains(&status);
        Err(if again { Error::new(message) } else { Error::fatal(message) })
    }

    /// Where it sends one on.
    fn redirect(&self) -> Option<String> {
        let redirects = [301, 302, 303, 307, 308].contains(&self.status);
        self.header("location").filter(|_| redirects).map(str::to_owned)
    }
}

/// The parts of an absolute URL.
struct Url<'a> {
    scheme: &'a str,
    authority: &'a str,
    /// With the query.
    path: String,
}

impl<'a> Url<'a> {
    fn read(url: &'a str) -> Result<Self> {
        let wrong = || {
            let shown: String = url.split(['?', '#']).next().unwrap_or_default().chars().take(80).collect();
            Error::fatal(format_args!("`{shown}` is no URL; `https://api.example.com/path` would be right"))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let known = ["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme));
        let (Some(scheme), false) = (known, authority.is_empty()) else { return Err(wrong()) };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, authority, path })
    }

    fn origin(&self) -> (&str, String) {
        (self.scheme, self.authority.to_ascii_lowercase())
    }

    /// The URL that a `location` beside this one means.
    fn join(&self, location: &str) -> String {
        let Self { scheme, authority, path } = self;
        if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else if location.contains("://") && !location.starts_with('?') {
            location.to_owned()
        } else {
            let path = path.split('?').next().unwrap_or_default();
            let folder = if location.starts_with('?') {
                path
            } else {
                path.rsplit_once('/').map_or("", |(folder, _)| folder)
            };
            let slash = if location.starts_with('?') { "" } else { "/" };
            format!("{scheme}://{authority}{folder}{slash}{location}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_beside_the_url_that_sent_it() {
        let table = [
            ("https://a.org/x/y?q", "z", "https://a.org/x/z"),
            ("https://a.org/x/y?q", "?r", "https://a.org/x/y?r"),
            ("https://a.org/x/y", "/z?r", "https://a.org/z?r"),
            ("https://a.org:1/x", "//b.org/z", "https://b.org/z"),
            ("https://a.org", "http://127.0.0.1/z", "http://127.0.0.1/z"),
            ("http://a.org?q#f", "z", "http://a.org/z"),
        ];
        for (url, location, expected) in table {
            assert_eq!(Url::read(url).unwrap().join(location), expected, "{url} {location}");
        }
        assert_eq!(Url::read("HTTP://A.org?q").unwrap().path, "/?q");
        assert!(Url::read("ftp://a.org").is_err() && Url::read("a.org").is_err());
    }

    #[test]
    fn a_redirect_takes_no_credentials_to_another_host() {
        let request =
            || post("https://a.org/x").header("Authorization", "x").header("content-type", "y").body("z");
        let mut away = request();
        away.follow(307, "https://b.org/").unwrap();
        assert_eq!((away.method.as_str(), away.headers.len(), away.body.len()), ("POST", 1, 1));
        let mut here = request();
        here.follow(302, "/y").unwrap();
        assert_eq!((here.method.as_str(), here.headers.len(), here.body.len()), ("GET", 1, 0));
        assert_eq!(here.headers[0].0, "Authorization");
    }
}
