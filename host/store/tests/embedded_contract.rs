//! The embedded store keeps the contract.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use async_trait::async_trait;
use ays_core::Timestamp;
use ays_store::{
    Store,
    contract::Place,
    embedded::{Embedded, Options},
};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait]
impl Place for Folder {
    async fn open(&self) -> Arc<dyn Store> {
        // So little memory for records that most are read from the disk.
        let mut options = Options::default();
        options.job_cache_bytes = 1500;
        options.piece_jobs = 300;
        Arc::new(Embedded::open(self.0.path(), "test", options, Timestamp::default()).unwrap())
    }
}

ays_store::contract!(Folder::new());
