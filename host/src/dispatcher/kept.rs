//! The key-value pairs that the store keeps, for guests to read.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ays_core::ServiceKey;
use ays_engine::KeyValues;
use ays_store::{Error, Store};

use crate::clock;

/// How long a job waits before it asks again a store that cannot be used.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the store. While that cannot be used, so that nothing could be committed either, the job waits, until it is back
/// or the job has taken all of its time.
pub(super) struct Kept {
    store: Arc<dyn Store>,
}

impl Kept {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

/// What the store answered; none if it is to be asked again.
async fn settled<T>(answer: ays_store::Result<T>) -> Option<Result<T, String>> {
    match answer {
        Err(Error::Unavailable(_)) => {
            clock::sleep(PAUSE).await;
            None
        }
        answer => Some(answer.map_err(|error| error.to_string())),
    }
}

#[async_trait]
impl KeyValues for Kept {
    async fn get(&self, service: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>, String> {
        loop {
            if let Some(answer) = settled(self.store.kv_get(service, key).await).await {
                return answer;
            }
        }
    }

    async fn keys(
        &self,
        service: &ServiceKey,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, String> {
        loop {
            if let Some(answer) = settled(self.store.kv_keys(service, prefix, after, limit).await).await {
                return answer;
            }
        }
    }
}
