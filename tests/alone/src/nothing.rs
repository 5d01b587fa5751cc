//! What a service has that was given nothing.

use std::sync::Arc;

use async_trait::async_trait;
use ays_core::ServiceKey;
use ays_engine::{KeyValues, Secrets};

/// No secrets, and no key-value pairs.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Secrets for Nothing {
    fn get(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn places(&self, _: &str) -> String {
        "nowhere".into()
    }
}

#[async_trait]
impl KeyValues for Nothing {
    async fn get(&self, _: &ServiceKey, _: &str) -> Result<Option<Arc<[u8]>>, String> {
        Ok(None)
    }

    async fn keys(&self, _: &ServiceKey, _: &str, _: Option<&str>, _: usize) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}
