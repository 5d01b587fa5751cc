#![allow(clippy::unwrap_used, reason = "tests")]

use ays_core::{
    JsonText, ServiceKey, Timestamp,
    changes::{Changes, NewService},
    job::{Cause, NewJob},
};

use super::{Options, opening};
use crate::{Batch, Error, JobQuery, Paging, Store};

fn job(key: &ServiceKey, action: &str) -> Batch {
    let cause = Cause::Api { door: "http".into() };
    let job =
        NewJob { service: key.clone(), action: action.into(), args: JsonText::null(), cause, patch: None };
    Batch { jobs: vec![job], ..Batch::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_write_nothing_is_believed_until_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let now = Timestamp::default();
    let open = |fail_at: u32| {
        let mut writes = 0;
        let before_write = move || {
            writes += 1;
            if writes == fail_at { Err(Error::Io("no space left on device".into())) } else { Ok(()) }
        };
        let options = Options::default();
        let before_write = Some(Box::new(before_write) as _);
        opening::start(folder.path(), None, "test", &options, now, Some(opening::SYNC), before_write).unwrap()
    };
    let key: ServiceKey = "act__a".parse().unwrap();
    let store = std::sync::Arc::new(open(3));
    let create = vec![NewService {
        key: key.clone(),
        data: JsonText::empty_object(),
        schema: None,
        applied: JsonText::empty_object(),
        links: Default::default(),
        jobs: Vec::new(),
    }];
    store.apply(Changes { create, ..Changes::default() }, now).await.unwrap();
    store.accept(job(&key, "durable"), now).await.unwrap();
    let taken = store.take(1, 1, now).await.unwrap();
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.take(1, 1, now).await })
    };
    let failed = store.accept(job(&key, "lost"), now).await;
    assert!(matches!(&failed, Err(Error::Io(why)) if why.contains("no space left")), "{failed:?}");
    for refused in [
        waiting.await.unwrap().err(),
        store.accept(job(&key, "too late"), now).await.err(),
        store.release(&key, &[taken[0].jobs[0].id]).await.err(),
        store.tick(now).await.err(),
        store.jobs(JobQuery::default(), Paging::default()).await.err(),
        store.status().await.err(),
    ] {
        assert!(matches!(&refused, Some(Error::Closed(why)) if why.contains("no space left")), "{refused:?}");
    }
    drop(store);
    let store = open(u32::MAX);
    let jobs = store.jobs(JobQuery::default(), Paging::default()).await.unwrap().items;
    assert_eq!(jobs.iter().map(|job| job.action.as_str()).collect::<Vec<_>>(), ["durable"]);
}
