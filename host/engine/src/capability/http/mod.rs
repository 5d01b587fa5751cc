//! `wasi:http/outgoing-handler`: requests to hosts that were granted.
//!
//! Each request is checked twice: its scheme, host, port and method before anything is done, and each address to which its
//! host's name leads before anything is connected. It is connected to an address that was checked, so that a name server
//! that answers otherwise the next time gains nothing. Redirects are not followed here: who follows one makes a
//! new request, which is checked again.

mod body;
mod exchange;
mod outbound;
mod places;
mod request;

use std::{
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use ays_core::{
    capability::{Access, Denied, Host, HttpCall, Reach},
    job::Level,
};
use http::uri::Scheme;
use tokio::sync::{Semaphore, watch};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
    p2::bindings::http::types::ErrorCode,
};

pub use outbound::{HttpLimits, Outbound};
pub(crate) use request::bound_requests;

use crate::{bindings::ays::actor::capabilities::Host as Capabilities, log_buffer::LogBuffer, state::State};

/// The most denials of one job that are remembered.
const DENIALS: usize = 100;

/// What the present job was denied, the last one last: in words, and the kind of capability.
#[derive(Clone, Default)]
pub(crate) struct Denials(Arc<Mutex<Vec<(String, &'static str)>>>);

impl Denials {
    pub(crate) fn add(&self, denied: &Denied) -> String {
        let text = denied.to_string();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(known, _)| *known != text);
        if all.len() >= DENIALS {
            all.remove(0);
        }
        all.push((text.clone(), denied.capability().kind()));
        text
    }

    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last().map(|(text, _)| text.clone())
    }

    /// The kind of capability of the denial that a failure's message tells of, if it tells of one.
    pub(crate) fn explain(&self, message: &str) -> Option<&'static str> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(denial, _)| message.contains(denial.as_str())).map(|(_, kind)| *kind)
    }
}

/// What the present job of an instance may request. None while there is no job.
#[derive(Default)]
pub(crate) struct Hooks {
    job: Option<Requests>,
    /// How many requests of this instance there can be at a time: look-ups of names outlive the job that asked for them.
    places: Option<Arc<Semaphore>>,
}

/// The requests of one job.
struct Requests {
    guard: Arc<Guard>,
    outbound: Arc<Outbound>,
    places: Arc<Semaphore>,
    /// Dropped when the job ends; then all of its requests end.
    alive: watch::Sender<()>,
}

/// What decides about the requests of one job, and tells of those that it denies.
struct Guard {
    access: Arc<Access>,
    log: LogBuffer,
    denials: Denials,
}

impl Guard {
    /// Tells of a denial: to the job's log, and to whoever asks for it.
    fn tell(&self, denied: &Denied) {
        let text = self.denials.add(denied);
        // A log that is full breaches the job's limit with its next line.
        let _ = self.log.line(Level::Warn, text);
    }

    fn address(&self, call: &HttpCall, reach: Reach, address: std::net::IpAddr) -> Result<(), Error> {
        self.access.address(call, reach, address).map_err(|denied| {
            self.tell(&denied);
            Error::DestinationIpProhibited
        })
    }

    /// Whether a request may go to this address, which is the host's own API.
    fn own_host(&self, call: &HttpCall) -> Result<(), Error> {
        self.access.own_host(call).map_err(|denied| {
            self.tell(&denied);
            Error::DestinationIpProhibited
        })
    }
}

impl Hooks {
    pub(crate) fn begin(
        &mut self,
        access: &Arc<Access>,
        outbound: &Arc<Outbound>,
        log: &LogBuffer,
        denials: &Denials,
    ) {
        let new = || Arc::new(Semaphore::new(outbound.limits().per_job));
        let places = self.places.get_or_insert_with(new).clone();
        self.job = Some(Requests {
            guard: Arc::new(Guard { access: access.clone(), log: log.clone(), denials: denials.clone() }),
            outbound: outbound.clone(),
            places,
            alive: watch::Sender::new(()),
        });
    }

    /// Ends the job's requests that have not ended.
    pub(crate) fn end(&mut self) {
        self.job = None;
    }
}

type Sent = (http::Response<WasiBody>, Driver);
type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<Sent, Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Driver,
    ) -> Sending {
        let Some(job) = &self.job else { return Box::new(ready(Err(Error::HttpRequestDenied))) };
        let call = match read(&request) {
            Ok(call) => call,
            Err(error) => return Box::new(ready(Err(error))),
        };
        let reach = match job.guard.access.http(&call) {
            Ok(reach) => reach,
            Err(denied) => {
                job.guard.tell(&denied);
                return Box::new(ready(Err(Error::HttpRequestDenied)));
            }
        };
        let Ok(place) = job.places.clone().try_acquire_owned() else {
            return Box::new(ready(Err(Error::ConnectionLimitReached)));
        };
        let exchange = exchange::Exchange {
            call,
            reach,
            guard: job.guard.clone(),
            outbound: job.outbound.clone(),
            timeouts: job.outbound.limits().timeouts(options),
            end: job.alive.subscribe(),
        };
        Box::new(exchange.send(request, place))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        request::CHUNK
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        ErrorCode::InternalError(Some(told("HTTP", error)))
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            _ => ErrorCode::InternalError(Some(told("connecting", error))),
        }
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        ErrorCode::InternalError(Some(told("TLS", error)))
    }
}

/// What an instance keeps of `wasi:http`.
pub(crate) fn context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(request::FIELDS);
    context
}

/// An error with its sources.
fn told(doing: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{doing}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What matters of a request for whether it is allowed.
fn read(request: &http::Request<WasiBody>) -> Result<HttpCall, Error> {
    let uri = request.uri();
    let scheme = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => ays_core::capability::Scheme::Http,
        Some(scheme) if *scheme == Scheme::HTTPS => ays_core::capability::Scheme::Https,
        _ => return Err(Error::HttpProtocolError),
    };
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    // `user:password@host` means nothing to a server, and to people another host than the one it goes to.
    if authority.as_str().contains('@') || request.method() == http::Method::CONNECT {
        return Err(Error::HttpRequestUriInvalid);
    }
    let host = Host::read(authority.host()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let port = match authority.port() {
        Some(port) => port.as_u16(),
        None => scheme.port(),
    };
    Ok(HttpCall { method: request.method().as_str().into(), scheme, host, port })
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http_hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

impl Capabilities for State {
    fn denial(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.call()?.denials.last())
    }
}
