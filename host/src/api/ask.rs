//! What requests ask for: the thing that a path names, and which part of a list.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::{Uri, request::Parts},
};
use ays_core::{EventName, ServiceKey, Timestamp, job::JobState};
use ays_store::Paging;
use serde::Deserialize;

use super::ApiError;
use crate::clock;

/// The most items of a page.
pub(super) const MOST: usize = 1000;

/// The causes that jobs have.
const CAUSES: [&str; 5] = ["event", "schedule", "run", "init", "api"];

/// What the path names. axum's own refusal, of a path that is not UTF-8, is plain text.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(refused) => Err(ApiError::refused(refused.status(), refused.body_text())),
        }
    }
}

/// What lists take: `limit` (100 by default, 1000 at most) and `cursor`, and each its own of the others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    limit: Option<usize>,
    cursor: Option<String>,
    pub(super) service: Option<ServiceKey>,
    pub(super) actor: Option<String>,
    pub(super) action: Option<String>,
    pub(super) event: Option<EventName>,
    pub(super) state: Option<JobState>,
    pub(super) cause: Option<String>,
    since: Option<String>,
}

impl Ask {
    /// Reads the parameters of a list. `own` are those that it has beside `limit` and `cursor`: to leave others aside would
    /// give more than was asked for.
    pub(super) fn read(uri: &Uri, own: &[&str]) -> Result<Self, ApiError> {
        let known = [&["limit", "cursor"], own].concat();
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|refused| ApiError::invalid(refused.body_text()))?;
        if let Some((name, _)) = given.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let message = format!("this list has no parameter `{name}`; it takes `{}`", known.join("`, `"));
            return Err(ApiError::invalid(message));
        }
        let Query(ask) =
            Query::<Self>::try_from_uri(uri).map_err(|refused| ApiError::invalid(refused.body_text()))?;
        if let Some(cause) = ask.cause.as_ref().filter(|cause| !CAUSES.contains(&cause.as_str())) {
            let message = format!("`{cause}` is not a cause; a job's cause is {}", CAUSES.join(", "));
            return Err(ApiError::invalid(message));
        }
        Ok(ask)
    }

    pub(super) fn paging(&self) -> Result<Paging, ApiError> {
        match self.limit {
            Some(limit) if limit == 0 || limit > MOST => {
                Err(ApiError::invalid(format!("`limit` is {limit}; it takes 1 to {MOST}")))
            }
            limit => Ok(Paging { limit: limit.unwrap_or(100), cursor: self.cursor.clone() }),
        }
    }

    /// The time that `since` says, or that it says to be so long ago.
    pub(super) fn since(&self) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = &self.since else { return Ok(None) };
        if let Some(ago) = span(text) {
            let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            return Ok(Some(Timestamp::from_millis(clock::now().millis().saturating_sub(millis))));
        }
        // A `+` that is not written as `%2B` has become a blank.
        text.replace(' ', "+").parse().map(Some).map_err(|_| {
            ApiError::invalid(format!(
                "`since` is `{text}`, which is not a time; RFC 3339, as 2026-11-23T13:16:05Z, or how long ago, as 90s, 10m, \
                 2h or 1d, would be right"
            ))
        })
    }
}

/// `90s`, `10m`, `2h`, `1d`, `1w`.
fn span(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_does_not_take_is_refused_with_what_it_takes() {
        for (query, told) in [
            ("?state=ok", "`limit`, `cursor`, `cause`, `since`"),
            ("?limit=0", "1 to 1000"),
            ("?limit=x", "limit"),
            ("?limit=1&limit=2", "limit"),
            ("?cause=evnt", "event, schedule, run, init, api"),
            ("?since=yesterday", "RFC 3339"),
            ("?since=5", "RFC 3339"),
            ("?since=10y", "RFC 3339"),
            ("?since=99999999999999999999w", "RFC 3339"),
        ] {
            let uri: Uri = format!("/api/v1/jobs{query}").parse().unwrap();
            let asked = Ask::read(&uri, &["cause", "since"]);
            let refused = asked.and_then(|ask| ask.paging().and(ask.since())).unwrap_err();
            let message = format!("{refused:?}");
            assert!(message.contains(told) && message.contains("400"), "{query}: {message}");
        }
    }

    #[test]
    fn since_takes_a_time_and_how_long_ago() {
        let since = |text: &str| {
            let uri: Uri = format!("/?since={text}").parse().unwrap();
            Ask::read(&uri, &["since"]).unwrap().since().unwrap().unwrap()
        };
        let time: Timestamp = "2026-11-23T13:16:05Z".parse().unwrap();
        assert_eq!(since("2026-11-23T13:16:05Z"), time);
        assert_eq!(since("2026-11-23T14:16:05%2B01:00"), time);
        assert_eq!(since("2026-11-23T14:16:05+01:00"), time);
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1w", 604_800)] {
            let ago = clock::now().since(since(text)).as_secs();
            assert!((seconds..seconds + 5).contains(&ago), "{text}: {ago}");
        }
        assert_eq!(since("9999999999999d"), Timestamp::MIN);
    }
}
