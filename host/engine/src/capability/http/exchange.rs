//! One request and its answer.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use ays_core::capability::{Host, HttpCall, Reach, Scheme};
use http_body::Body as _;
use hyper::client::conn::http1;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
    task::spawn_blocking,
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, io::TokioIo};

use super::{
    Driver, Guard, Sent,
    body::{Bounded, Bounds},
    outbound::Outbound,
};
use crate::Clock;

/// The most bytes of an answer's head.
const HEAD_BYTES: usize = 64 << 10;
/// The most addresses of a name that are looked at.
const ADDRESSES: usize = 64;

pub(super) struct Exchange {
    pub(super) call: HttpCall,
    pub(super) reach: Reach,
    pub(super) guard: Arc<Guard>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) timeouts: RequestOptions,
    /// Ends when the job does.
    pub(super) end: watch::Receiver<()>,
}

/// What carries HTTP.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

impl Exchange {
    /// Sends a request that is allowed, and waits for the head of the answer.
    pub(super) async fn send(
        self,
        request: http::Request<WasiBody>,
        place: OwnedSemaphorePermit,
    ) -> Result<Sent, Error> {
        let mut end = self.end.clone();
        tokio::select! {
            sent = self.exchange(request, place) => sent,
            // The sender is dropped; it never sends.
            _ = end.changed() => Err(Error::ConnectionTerminated),
        }
    }

    async fn exchange(
        self,
        request: http::Request<WasiBody>,
        place: OwnedSemaphorePermit,
    ) -> Result<Sent, Error> {
        let limits = *self.outbound.limits();
        let clock = self.outbound.clock.clone();
        let request = prepare(request, limits.request_bytes)?;
        let place = Arc::new(place);
        let connect = self.timeouts.connect_timeout.unwrap_or(limits.connect);
        let (stream, host_place) =
            within(&*clock, connect, self.connect(&place), Error::ConnectionTimeout).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let mut end = self.end;
        let driver: Pin<Driver> = Box::pin(async move {
            tokio::select! {
                driven = connection => driven.map_err(Error::from),
                _ = end.changed() => Ok(()),
            }
        });
        let mut driver = Some(driver);
        let first_byte = self.timeouts.first_byte_timeout.unwrap_or(limits.first_byte);
        let answer = {
            let mut answer = std::pin::pin!(sender.send_request(request));
            let answer = std::future::poll_fn(|cx| {
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return Poll::Ready(answer.map_err(Error::from));
                }
                // Nothing is sent nor received unless the connection is driven.
                let Some(driving) = &mut driver else { return Poll::Pending };
                let Poll::Ready(ended) = driving.as_mut().poll(cx) else { return Poll::Pending };
                driver = None;
                // It may end badly after the answer has come: many servers leave TLS without a word.
                match (answer.as_mut().poll(cx), ended) {
                    (Poll::Ready(answer), _) => Poll::Ready(answer.map_err(Error::from)),
                    (Poll::Pending, Err(error)) => Poll::Ready(Err(error)),
                    (Poll::Pending, Ok(())) => Poll::Ready(Err(Error::ConnectionTerminated)),
                }
            });
            within(&*clock, first_byte, answer, Error::HttpResponseTimeout).await?
        };
        let patience = self.timeouts.between_bytes_timeout.unwrap_or(limits.between_bytes);
        let bounds = Bounds {
            left: limits.response_bytes,
            too_large: Error::HttpResponseBodySize,
            patience: Some((clock, patience)),
            places: vec![place, Arc::new(host_place)],
        };
        let answer = answer.map(|body| WasiBody::new(Bounded::new(body, bounds)));
        let driver: Driver = match driver {
            // Who reads the body is told of what goes wrong from here on; the host's log need not be.
            Some(driver) => Box::new(async move {
                let _ = driver.await;
                Ok(())
            }),
            None => Box::new(std::future::ready(Ok(()))),
        };
        Ok((answer, driver))
    }

    async fn connect(
        &self,
        place: &Arc<OwnedSemaphorePermit>,
    ) -> Result<(Box<dyn Stream>, OwnedSemaphorePermit), Error> {
        let addresses = self.addresses(place).await?;
        let place = self.outbound.request_to(&self.call.host, self.call.port).await;
        let place = place.map_err(|_| Error::ConnectionLimitReached)?;
        let mut failed = Error::DestinationNotFound;
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(address, self.call.port)).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok((self.secure(stream).await?, place));
                }
                Err(error) => failed = Error::Connect(error),
            }
        }
        Err(failed)
    }

    /// The addresses to which the host's name leads, each checked. One that is not allowed makes all of them suspect: a
    /// name that leads to a public and to a private address was made to deceive.
    async fn addresses(&self, place: &Arc<OwnedSemaphorePermit>) -> Result<Vec<IpAddr>, Error> {
        let name = match &self.call.host {
            // It was checked with the request.
            Host::Address(address) => {
                self.not_this_host(*address)?;
                return Ok(vec![*address]);
            }
            Host::Name(name) => name,
        };
        let failed =
            |error: std::io::Error| Error::DnsError { rcode: Some(error.to_string()), info_code: None };
        let mut addresses = Vec::new();
        for address in self.look_up(name, place).await.map_err(failed)? {
            self.guard.address(&self.call, self.reach, address)?;
            self.not_this_host(address)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// The operating system cannot be told to stop looking: the look-up keeps its places until it has ended, also when nobody
    /// waits for it any more.
    async fn look_up(&self, name: &str, place: &Arc<OwnedSemaphorePermit>) -> std::io::Result<Vec<IpAddr>> {
        let look_up = self.outbound.look_up_for(self.guard.access.actor()).await;
        let places = (place.clone(), look_up.map_err(std::io::Error::other)?);
        let name = (name.to_owned(), self.call.port);
        let looking = spawn_blocking(move || {
            let found = name.to_socket_addrs();
            drop(places);
            found.map(|found| found.map(|found| found.ip()).take(ADDRESSES).collect())
        });
        looking.await.map_err(std::io::Error::other)?
    }

    /// Checks an address that may lead to the API of the host itself.
    fn not_this_host(&self, address: IpAddr) -> Result<(), Error> {
        if self.outbound.is_own(SocketAddr::new(address, self.call.port)) {
            return self.guard.own_host(&self.call);
        }
        Ok(())
    }

    async fn secure(&self, stream: TcpStream) -> Result<Box<dyn Stream>, Error> {
        if self.call.scheme == Scheme::Http {
            return Ok(Box::new(stream));
        }
        let other = |what: String| Error::Tls(std::io::Error::other(what));
        let name = match &self.call.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(|e| other(e.to_string()))?,
        };
        let connector = self.outbound.tls().map_err(other)?;
        Ok(Box::new(connector.connect(name, stream).await.map_err(Error::Tls)?))
    }
}

/// The request as it goes to the server: without scheme and host, which only a proxy is told, and with a body that
/// keeps to the limit.
fn prepare(request: http::Request<WasiBody>, most: u64) -> Result<http::Request<WasiBody>, Error> {
    let (mut head, body) = request.into_parts();
    if body.size_hint().lower() > most {
        return Err(Error::HttpRequestBodySize(Some(most)));
    }
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // Of `?query` without a path, and of none at all.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    head.uri = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    let bounds =
        Bounds { left: most, too_large: Error::HttpRequestBodySize, patience: None, places: Vec::new() };
    Ok(http::Request::from_parts(head, WasiBody::new(Bounded::new(body, bounds))))
}

/// What the future gives within this time, or `late`.
async fn within<T>(
    clock: &dyn Clock,
    span: Duration,
    future: impl Future<Output = Result<T, Error>>,
    late: Error,
) -> Result<T, Error> {
    tokio::select! {
        given = future => given,
        () = clock.sleep(span) => Err(late),
    }
}
