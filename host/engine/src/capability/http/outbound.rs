//! What the requests of all actors share.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::RequestOptions;

use crate::Clock;

/// What requests may use.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// How long connecting may take, with the look-up of the name and TLS.
    pub connect: Duration,
    /// How long the first byte of an answer may take.
    pub first_byte: Duration,
    /// How long the next bytes of an answer may take.
    pub between_bytes: Duration,
    /// The greatest body of a request, in bytes.
    pub request_bytes: u64,
    /// The greatest body of an answer, in bytes.
    pub response_bytes: u64,
    /// Requests of one job, and so of one service, at a time.
    pub per_job: usize,
    /// Requests of all actors to one host and port at a time. Further ones wait.
    pub per_host: usize,
    /// Names of all actors that are looked up at a time. Further ones wait.
    pub look_ups: usize,
}

impl Default for HttpLimits {
    /// 10 s to connect, 60 s to the first byte, 30 s between bytes, 16 MiB out and 64 MiB in; 16 at a time for each
    /// job, 64 for each host; 128 look-ups.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(30),
            request_bytes: 16 << 20,
            response_bytes: 64 << 20,
            per_job: 16,
            per_host: 64,
            look_ups: 128,
        }
    }
}

impl HttpLimits {
    /// These, or what the guest wants where that is less.
    pub(super) fn timeouts(&self, wanted: Option<RequestOptions>) -> RequestOptions {
        let wanted = wanted.unwrap_or_default();
        let pick = |wanted: Option<Duration>, most: Duration| Some(wanted.unwrap_or(most).min(most));
        RequestOptions {
            connect_timeout: pick(wanted.connect_timeout, self.connect),
            first_byte_timeout: pick(wanted.first_byte_timeout, self.first_byte),
            between_bytes_timeout: pick(wanted.between_bytes_timeout, self.between_bytes),
        }
    }
}

/// What the requests of all actors share: limits, and the authorities that TLS trusts.
pub struct Outbound {
    limits: HttpLimits,
    pub(super) clock: Arc<dyn Clock>,
    /// Read when the first request by TLS is made: that takes a while, and most hosts make none.
    tls: OnceLock<Result<TlsConnector, String>>,
    places: Mutex<HashMap<(String, u16), Arc<Semaphore>>>,
    /// How many names can be looked up at a time. Each takes a thread, of which the runtime has 512, also for the store.
    pub(super) look_ups: Arc<Semaphore>,
    /// The port of the host's own API.
    own_port: Option<u16>,
}

impl Outbound {
    /// With these limits.
    pub fn new(limits: HttpLimits, clock: Arc<dyn Clock>) -> Self {
        let look_ups = Arc::new(Semaphore::new(limits.look_ups));
        Self { limits, clock, tls: OnceLock::new(), places: Mutex::default(), look_ups, own_port: None }
    }

    /// With this port, on this machine, as that of the host's own API: requests go there only if a grant names the port.
    #[must_use]
    pub fn with_own_port(self, port: u16) -> Self {
        Self { own_port: Some(port), ..self }
    }

    /// Whether this is the host's own API, as far as can be told: its port, on one of this machine's addresses.
    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        // Only an address of this machine can be bound to.
        let is_here = || ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok();
        self.own_port == Some(address.port()) && is_here()
    }

    pub(super) fn limits(&self) -> &HttpLimits {
        &self.limits
    }

    /// The places of one host and port.
    pub(super) fn places(&self, host: &str, port: u16) -> Arc<Semaphore> {
        const KEPT: usize = 1024;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= KEPT {
            places.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let new = || Arc::new(Semaphore::new(self.limits.per_host));
        places.entry((host.to_owned(), port)).or_insert_with(new).clone()
    }

    /// TLS as this machine trusts it.
    pub(super) fn tls(&self) -> Result<TlsConnector, String> {
        self.tls.get_or_init(connector).clone()
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(format!(
            "this machine has no certificates of authorities (package ca-certificates, or SSL_CERT_FILE): {}",
            why.join(", ")
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
