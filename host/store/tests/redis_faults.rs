//! What a server refuses in the midst of a commit is never taken for done.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use ays_core::{
    JsonText, Timestamp,
    changes::{Changes, NewService},
    event::NewEvent,
    filter::EventFilter,
};
use ays_redis::{Server, test_server::RedisServer};
use ays_store::{
    Batch, Error, JobQuery, Paging, Store,
    redis::{Options, Redis},
};

async fn open(server: &RedisServer) -> Result<Redis, Error> {
    let server = Arc::new(Server::new(server.unix_url().parse().unwrap()).unwrap());
    Redis::open(server, "test", Options::default(), Timestamp::default()).await
}

fn event() -> Batch {
    let event = NewEvent::new("came".parse().unwrap(), JsonText::empty_list());
    Batch { events: vec![event], ..Batch::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_refused_in_its_midst_is_not_acknowledged_and_ends_the_store() {
    let server = RedisServer::start();
    let now = Timestamp::default();
    for (number, forbidden) in ["hset", "rpush", "append", "sadd", "hincrby"].into_iter().enumerate() {
        let store = open(&server).await.unwrap();
        let key: ays_core::ServiceKey = format!("act__s{number}").parse().unwrap();
        let data = JsonText::empty_object();
        let new = NewService {
            key: key.clone(),
            data: data.clone(),
            schema: None,
            applied: data,
            links: Default::default(),
            jobs: Vec::new(),
        };
        let filters = vec![(key, EventFilter::new("came".parse().unwrap(), "go"))];
        store.apply(Changes { create: vec![new], filters, ..Changes::default() }, now).await.unwrap();
        let before = store.jobs(JobQuery::default(), Paging::default()).await.unwrap().items.len();
        server.cli(&["ACL", "SETUSER", "default", &format!("-{forbidden}")]);
        let accepted = store.accept(event(), now).await;
        let refused = open(&server).await;
        server.cli(&["ACL", "SETUSER", "default", &format!("+{forbidden}")]);
        let why = refused.err().map(|error| error.to_string()).unwrap_or_default().to_lowercase();
        assert!(why.contains(forbidden), "opening without {forbidden}: {why}");
        match accepted {
            // The command was not needed for it.
            Ok(accepted) => {
                let jobs = store.jobs(JobQuery::default(), Paging::default()).await.unwrap().items.len();
                assert_eq!(jobs - before, accepted.events[0].1 as usize, "accepted without {forbidden}");
                store.close().await.unwrap();
            }
            Err(error) => assert!(matches!(error, Error::Closed(_)), "{forbidden}: {error}"),
        }
    }
}
