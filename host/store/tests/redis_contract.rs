//! The store on Redis keeps the contract: on the server of this machine, on a newer and on an older
//! one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use ays_core::Timestamp;
use ays_redis::{
    Server,
    test_server::{Flavour, RedisServer},
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
    /// Ends with the last case that uses it.
    _running: Arc<RedisServer>,
}

impl Namespace {
    fn on(server: Arc<RedisServer>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let address = server.unix_url().parse().unwrap();
        Self { server: Arc::new(Server::new(address).unwrap()), name, _running: server }
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

/// The contract on a server of this flavour.
macro_rules! on {
    ($module:ident, $flavour:expr) => {
        mod $module {
            use super::*;

            fn server() -> Arc<RedisServer> {
                static SERVER: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());
                let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
                server.upgrade().unwrap_or_else(|| {
                    let started = Arc::new(RedisServer::start_flavour($flavour, &OPTIONS));
                    *server = Arc::downgrade(&started);
                    started
                })
            }

            ays_store::contract!(Namespace::on(server()));
        }
    };
}

on!(installed, Flavour::Installed);
on!(newer, Flavour::Newer);
// Its binary is not to be had for every machine.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
on!(older, Flavour::Older);
