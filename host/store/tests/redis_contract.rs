//! The store on Redis keeps the contract: on the server of this machine, on a newer and on an older one, on a cluster, behind a
//! sentinel, and over TLS.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    any::Any,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use ays_core::Timestamp;
use ays_redis::{
    Server,
    test_server::{Cluster, Flavour, RedisServer, Sentinel, certificates_for, start_tls},
};
use ays_store::{
    Store,
    contract::Place,
    redis::{Options, Redis},
};

/// A namespace of a server that all cases share.
struct Namespace {
    server: Arc<Server>,
    name: String,
    /// They end with the last case that uses them.
    _running: Arc<Running>,
}

/// Servers, and the address to use.
struct Running {
    url: String,
    _servers: Box<dyn Any + Send + Sync>,
}

impl Running {
    fn new(url: String, servers: impl Any + Send + Sync) -> Self {
        Self { url, _servers: Box::new(servers) }
    }

    fn flavour(flavour: Flavour) -> Self {
        let server = RedisServer::start_flavour(flavour, &OPTIONS);
        Self::new(server.unix_url(), server)
    }

    fn cluster() -> Self {
        let cluster = Cluster::start_with(3, &OPTIONS);
        Self::new(format!("redis+cluster://127.0.0.1:{}", cluster.nodes()[0].port()), cluster)
    }

    fn sentinel() -> Self {
        let primary = RedisServer::start_with(&OPTIONS);
        let sentinel = Sentinel::watching(&primary, 0);
        Self::new(format!("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port()), (primary, sentinel))
    }

    fn tls() -> Self {
        let folder = certificates_for("localhost");
        let (server, port) = start_tls(folder.path(), "yes");
        let path = folder.path().display();
        let url = format!(
            "rediss://localhost:{port}?tls-ca={path}/ca.pem&tls-cert={path}/client.pem&tls-key={path}/client.key"
        );
        Self::new(url, (server, folder))
    }
}

impl Namespace {
    fn on(running: Arc<Running>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Each of them in another slot of a cluster.
        let name = format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let address = running.url.parse().unwrap();
        Self { server: Arc::new(Server::new(address).unwrap()), name, _running: running }
    }
}

#[async_trait]
impl Place for Namespace {
    async fn open(&self) -> Arc<dyn Store> {
        // So little memory for records that most are read from Redis.
        let mut options = Options::default();
        options.job_cache_bytes = 1500;
        options.piece_jobs = 300;
        let store = Redis::open(self.server.clone(), &self.name, options, Timestamp::default());
        Arc::new(store.await.unwrap())
    }
}

const OPTIONS: [&str; 2] = ["--appendonly", "no"];

/// The contract on such servers.
macro_rules! on {
    ($module:ident, $start:expr) => {
        mod $module {
            use super::*;

            fn server() -> Arc<Running> {
                static SERVER: Mutex<Weak<Running>> = Mutex::new(Weak::new());
                let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
                server.upgrade().unwrap_or_else(|| {
                    let started = Arc::new($start);
                    *server = Arc::downgrade(&started);
                    started
                })
            }

            ays_store::contract!(Namespace::on(server()));
        }
    };
}

on!(installed, Running::flavour(Flavour::Installed));
on!(newer, Running::flavour(Flavour::Newer));
on!(cluster, Running::cluster());
on!(sentinel, Running::sentinel());
on!(tls, Running::tls());
// Its binary is not to be had for every machine.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
on!(older, Running::flavour(Flavour::Older));
