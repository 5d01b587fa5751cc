//! What the requests of all actors share.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{Arc, OnceLock},
    time::Duration,
};

use ays_core::{ActorName, capability::Host};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{AcquireError, OwnedSemaphorePermit as Place, Semaphore};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::RequestOptions;

use super::places::Places;
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
    /// Names of one actor that are looked up at a time. Further ones wait.
    pub look_ups_per_actor: usize,
}

impl Default for HttpLimits {
    /// 10 s to connect, 60 s to the first byte, 30 s between bytes, 16 MiB out and 64 MiB in; 16 at a time for each
    /// job, 64 for each host; 128 look-ups, 16 for each actor.
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
            look_ups_per_actor: 16,
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
    /// Of requests, by host and port.
    requests: Places,
    /// How many names can be looked up at a time. Each takes a thread, of which the runtime has 512, also for the store.
    look_ups: Arc<Semaphore>,
    /// Of look-ups, by actor: one whose names' servers are silent must not keep the others from looking up theirs.
    look_ups_of: Places,
    /// The port of the host's own API.
    own_port: Option<u16>,
}

impl Outbound {
    /// With these limits.
    pub fn new(limits: HttpLimits, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits,
            clock,
            tls: OnceLock::new(),
            requests: Places::new(limits.per_host),
            look_ups: Arc::new(Semaphore::new(limits.look_ups)),
            look_ups_of: Places::new(limits.look_ups_per_actor),
            own_port: None,
        }
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

    /// Waits until one more request may go to this host and port.
    pub(super) async fn request_to(&self, host: &Host, port: u16) -> Result<Place, AcquireError> {
        self.requests.take(&format!("{port} {host}")).await
    }

    /// Waits until one more name may be looked up for this actor: for one of its own places first, so that it waits with no
    /// other actor's.
    pub(super) async fn look_up_for(&self, actor: &ActorName) -> Result<[Place; 2], AcquireError> {
        let own = self.look_ups_of.take(actor.as_str()).await?;
        Ok([own, self.look_ups.clone().acquire_owned().await?])
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
