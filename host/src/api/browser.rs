//! Web pages in the browser of somebody who can reach the API: it has no password, and a browser sends whatever a page asks
//! for, to 127.0.0.1 as well.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::ApiError;

/// Whose requests are served.
#[derive(Clone, Debug)]
pub struct Names {
    /// Whether the API can be reached from this machine alone.
    pub loopback: bool,
    /// Names by which it may be asked then, beside `localhost` and its addresses.
    pub allowed: Arc<[String]>,
}

impl Names {
    /// Why the request is not served, if it is not.
    fn refuse(&self, method: &Method, headers: &HeaderMap) -> Option<String> {
        let host = text(headers, header::HOST).unwrap_or_default();
        // A page whose name was made to lead here (DNS rebinding) reads the answers, as they come from its own origin.
        if self.loopback && !host.is_empty() && !self.is_here(host) {
            return Some(format!(
                "this host listens for its own machine alone, and `{host}` is no name of that; 127.0.0.1, localhost or a \
                 name given with `serve --allow-host` would be right"
            ));
        }
        if method.is_safe() {
            // Answers to other origins are kept from a page by its browser.
            return None;
        }
        let origin = text(headers, header::ORIGIN);
        if let Some(origin) = origin
            && origin.split_once("://").is_none_or(|(_, authority)| authority != host)
        {
            return Some(format!("a web page of another origin, `{origin}`, may change nothing here"));
        }
        let site = text(headers, HeaderName::from_static("sec-fetch-site")).unwrap_or("none");
        (!matches!(site, "none" | "same-origin"))
            .then(|| format!("a web page of another site may change nothing here (Sec-Fetch-Site: {site})"))
    }

    fn is_here(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let address = || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        let local = || name.to_ascii_lowercase();
        address()
            || local() == "localhost"
            || local().ends_with(".localhost")
            || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    // What is no text matches nothing.
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Refuses requests that a page of another origin made.
pub(super) async fn guard(State(names): State<Names>, request: Request, next: Next) -> Response {
    match names.refuse(request.method(), request.headers()) {
        Some(why) => ApiError::refused(StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let origin = |origin: &'static str| [("host", "127.0.0.1:8642"), ("origin", origin)];
        let site = |site: &'static str| [("host", "localhost:8642"), ("sec-fetch-site", site)];
        let host = |host: &'static str| [("host", host), ("accept", "*/*")];
        // Headers; whether a GET and a POST are served on a loopback address, and a POST on another.
        let cases = [
            (host("127.0.0.1:8642"), [true, true, true]),
            (host("[::1]:8642"), [true, true, true]),
            (host("[::ffff:127.0.0.1]:8642"), [true, true, true]),
            (host("localhost"), [true, true, true]),
            (host("LOCALHOST:8642"), [true, true, true]),
            (host("ays.localhost:8642"), [true, true, true]),
            (host("ays.example:8642"), [true, true, true]),
            (host("evil.example:8642"), [false, false, true]),
            (host("localhost.evil.example"), [false, false, true]),
            (host("192.168.1.1:8642"), [false, false, true]),
            (host(":::"), [false, false, true]),
            (origin("http://127.0.0.1:8642"), [true, true, true]),
            (origin("http://127.0.0.1:8643"), [true, false, false]),
            (origin("https://evil.example"), [true, false, false]),
            (origin("http://127.0.0.1:8642.evil.example"), [true, false, false]),
            (origin("null"), [true, false, false]),
            (site("cross-site"), [true, false, false]),
            (site("same-site"), [true, false, false]),
            (site("same-origin"), [true, true, true]),
            (site("none"), [true, true, true]),
        ];
        let names = |loopback| Names { loopback, allowed: Arc::from(["ays.example".to_owned()]) };
        for (headers, expected) in cases {
            let headers: HeaderMap = headers
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            let served = [(true, Method::GET), (true, Method::POST), (false, Method::POST)]
                .map(|(loopback, method)| names(loopback).refuse(&method, &headers).is_none());
            assert_eq!(served, expected, "{headers:?}");
        }
    }
}
