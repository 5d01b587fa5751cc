//! How commands talk to a running host.

use std::{io::ErrorKind, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use clap::builder::BoolishValueParser;
use serde_json::Value;
use ureq::{Agent, http::StatusCode};

/// Where the host is.
#[derive(Debug, clap::Args)]
pub(super) struct Host {
    /// The running host: http://ADDR:PORT
    #[arg(
        long = "host",
        value_name = "URL",
        env = "AYS_HOST",
        default_value = "http://127.0.0.1:8642",
        global = true
    )]
    url: String,
    /// Print the API's JSON
    #[arg(long, env = "AYS_JSON", global = true, value_parser = BoolishValueParser::new())]
    pub(super) json: bool,
}

/// How a connection ends that there was.
const BROKEN_OFF: [ErrorKind; 4] = [
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::UnexpectedEof,
];

impl Host {
    /// The host at this URL, for a command whose `--json` means something else.
    pub(super) fn at(url: String) -> Self {
        Self { url, json: true }
    }

    fn agent() -> Agent {
        Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .user_agent(concat!("ays-host/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    fn url(&self, path: &str) -> String {
        let base = self.url.trim_end_matches('/');
        if base.contains("://") { format!("{base}{path}") } else { format!("http://{base}{path}") }
    }

    /// GET.
    pub(super) fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let mut request = Self::agent().get(self.url(path));
        for (name, value) in query {
            request = request.query(*name, value);
        }
        self.answer(request.call())
    }

    /// POST with JSON.
    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.answer(Self::agent().post(self.url(path)).send_json(body))
    }

    /// POST with bytes.
    pub(super) fn post_bytes(&self, path: &str, body: &[u8]) -> anyhow::Result<Value> {
        let request = Self::agent().post(self.url(path)).content_type("application/wasm");
        // A host that takes none says so before all of it is sent.
        let request = request.header("expect", "100-continue");
        self.answer(request.send(body))
    }

    fn answer(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Value> {
        let mut response = response.map_err(|error| match error {
            ureq::Error::Io(error) if BROKEN_OFF.contains(&error.kind()) => {
                anyhow!("the host at {} broke off before it answered: {error}; its log may say why", self.url)
            }
            error => anyhow!(
                "no host answers at {}: {error}. Start one with `ays-host serve`, or name it with --host",
                self.url
            ),
        })?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .read_to_string()
            .context("the answer broke off")?;
        let answer: Value = serde_json::from_str(&text).map_err(|_| {
            anyhow!(
                "{} is not an ays-host: it answered {status} with {:?}",
                self.url,
                text.get(..80).unwrap_or(&text)
            )
        })?;
        if status.is_success() {
            return Ok(answer);
        }
        let message = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or("the host refused");
        if status == StatusCode::UNPROCESSABLE_ENTITY
            && let Some(problems) = answer.pointer("/error/problems").and_then(Value::as_array)
        {
            let problems: Vec<ays_core::problem::Problem> =
                problems.iter().filter_map(|problem| serde_json::from_value(problem.clone()).ok()).collect();
            problems.iter().for_each(|problem| eprintln!("{problem}"));
        }
        bail!("{message}")
    }
}
