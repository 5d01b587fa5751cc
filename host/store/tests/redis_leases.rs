//! A host that goes leaves nothing that others would have to wait for.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use ays_core::Timestamp;
use ays_redis::{Server, test_server::RedisServer};
use ays_store::{
    Store,
    redis::{Options, Redis},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_closed_while_it_renews_its_lease_has_none_afterwards() {
    let server = RedisServer::start_with(&["--appendonly", "no"]);
    let hosts = (0..4).map(|_| {
        let address = server.unix_url().parse().unwrap();
        tokio::spawn(async move {
            let server = Arc::new(Server::new(address).unwrap());
            for _ in 0..50 {
                // Its first renewal follows at once.
                let opened = Redis::open(server.clone(), "test", Options::default(), Timestamp::default());
                opened.await.unwrap().close().await.unwrap();
            }
        })
    });
    for host in hosts.collect::<Vec<_>>() {
        host.await.unwrap();
    }
    let names = server.cli(&["--raw", "KEYS", "*"]);
    let hosts = names.lines().find(|name| name.ends_with("hosts")).unwrap_or("none");
    assert_eq!(server.cli(&["--raw", "ZRANGE", hosts, "0", "-1"]).trim(), "", "hosts that are gone: {names}");
}
