//! An actor that asks for much: what it gets is for the tests to say.

use ays_sdk::prelude::*;
use wasip2::{
    clocks::monotonic_clock,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, OutgoingRequest, RequestOptions,
            Scheme, http_error_code,
        },
    },
    io::{poll::poll, streams::StreamError},
    random::random::get_random_bytes,
};

/// Begins a request, with milliseconds to connect, to the first byte, and between bytes.
fn begin(url: &str, [connect, first, between]: [u64; 3]) -> Result<FutureIncomingResponse, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no URL")?;
    let (authority, path) = rest.split_once('/').ok_or("no path")?;
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&if scheme == "https" { Scheme::Https } else { Scheme::Http }));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    let options = RequestOptions::new();
    let _ = options.set_connect_timeout(Some(connect * 1_000_000));
    let _ = options.set_first_byte_timeout(Some(first * 1_000_000));
    let _ = options.set_between_bytes_timeout(Some(between * 1_000_000));
    outgoing_handler::handle(request, Some(options)).map_err(|error| format!("{error:?}"))
}

/// The head of an answer.
fn head(answer: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
    poll(&[&answer.subscribe()]);
    match answer.get() {
        Some(Ok(Ok(answer))) => Ok(answer),
        Some(Ok(Err(error))) => Err(format!("{error:?}")),
        _ => Err("it has been taken".into()),
    }
}

/// How many bytes an answer's body has, and why there are no more.
fn body(answer: &IncomingResponse) -> (u64, String) {
    let (Ok(body), mut bytes) = (answer.consume(), 0) else { return (0, "no body".into()) };
    let Ok(stream) = body.stream() else { return (0, "no stream".into()) };
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(piece) => bytes += piece.len() as u64,
            Err(StreamError::Closed) => return (bytes, "end".into()),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = http_error_code(&error).map(|code| format!("{code:?}"));
                return (bytes, code.unwrap_or_else(|| error.to_debug_string()));
            }
        }
    }
}

#[derive(Serialize, Deserialize, Schema)]
#[serde(crate = "ays_sdk::serde")]
struct Courier {
    /// Room for what should not be kept.
    kept: String,
}

#[actor(memory = "512MiB", capabilities = [
    "http http://*:* private",
    "http http://127.0.0.1:*",
    "http http://169.254.169.254",
    "http https://*:* private",
    "secret *",
    "emit courier_*",
    "kv",
], kv_bytes = "3MiB")]
impl Courier {
    /// Makes a request: the status and the body of the answer.
    #[action]
    fn fetch(&self, method: String, url: String, body: Option<String>) -> Result<Value> {
        let request = http::Request::new(method, url).body(body.unwrap_or_default());
        let response = request.send()?;
        Ok(json!({"status": response.status(), "body": response.text()}))
    }

    /// The same; an error is no failure of the job.
    #[action]
    fn try_fetch(&self, url: String) -> String {
        match http::get(url).send() {
            Ok(response) => format!("{} {}", response.status(), response.text()),
            Err(error) => format!("{:?}: {}", error.kind(), error.message()),
        }
    }

    /// Begins so many requests at a time, which are not answered: how many were refused.
    #[action]
    fn fetch_many(&self, authority: String, count: u32) -> u32 {
        let begun: Vec<_> = (0..count)
            .filter_map(|_| {
                let request = OutgoingRequest::new(Fields::new());
                let _ = request.set_scheme(Some(&Scheme::Http));
                let _ = request.set_authority(Some(&authority));
                let _ = request.set_path_with_query(Some("/hang"));
                outgoing_handler::handle(request, None).ok()
            })
            .collect();
        let refused = |answer: &&FutureIncomingResponse| {
            // It is known at once, if it is refused.
            let patience = monotonic_clock::subscribe_duration(20_000_000);
            poll(&[&answer.subscribe(), &patience]);
            matches!(answer.get(), Some(Ok(Err(ErrorCode::ConnectionLimitReached))))
        };
        begun.iter().filter(refused).count() as u32
    }

    /// Takes so many random bytes at once.
    #[action(retry(attempts = 1))]
    fn chance(&self, bytes: u64) -> usize {
        get_random_bytes(bytes).len()
    }

    /// The same, with a limit of its own.
    #[action(retry(attempts = 1), random_bytes = 64)]
    fn little_chance(&self, bytes: u64) -> usize {
        get_random_bytes(bytes).len()
    }

    /// Makes so many requests at a time, with these milliseconds to connect, to the first byte and between bytes, and reads
    /// what each gives to its end once all have begun: the bytes that came, and why no more did.
    #[action(retry(attempts = 1), cpu = "60s")]
    fn read_all(&self, url: String, count: u32, patience: [u64; 3]) -> Vec<(u64, String)> {
        let begun: Vec<_> = (0..count).map(|_| begin(&url, patience)).collect();
        let held: Vec<_> = begun.into_iter().map(|answer| answer.and_then(|answer| head(&answer))).collect();
        let read = |held: Result<IncomingResponse, String>| match held {
            Ok(answer) => body(&answer),
            Err(why) => (0, why),
        };
        held.into_iter().map(read).collect()
    }

    /// The same for one request, and no longer than a second.
    #[action(retry(attempts = 1), wall = "1s")]
    fn read_for_a_second(&self, url: String) -> (u64, String) {
        match begin(&url, [60_000; 3]).and_then(|answer| head(&answer)) {
            Ok(answer) => body(&answer),
            Err(why) => (0, why),
        }
    }

    /// Makes so many requests, and waits for these milliseconds.
    #[action(retry(attempts = 1))]
    fn hold(&self, url: String, count: u32, ms: u64) {
        let _begun: Vec<_> = (0..count).map(|_| begin(&url, [60_000; 3])).collect();
        poll(&[&monotonic_clock::subscribe_duration(ms * 1_000_000)]);
    }

    /// Writes a secret wherever one can write, and returns it.
    #[action]
    fn reveal(&self, name: String) -> Result<Value> {
        let secret = secrets::get(&name)?;
        log::info(format!("the secret is {secret}."));
        println!("printed: {secret}");
        log::info(json!({"printed as JSON": secret}).to_string());
        eprint!("{secret} without an end of line");
        Ok(json!({"secret": secret, "list": [format!("<{secret}>")], secret.clone(): 1}))
    }

    /// Fails with a message that tells a secret after so many bytes.
    #[action(retry(attempts = 1))]
    fn fail_with(&self, name: String, after: Option<u32>) -> Result<()> {
        let before = " ".repeat(after.unwrap_or_default() as usize);
        Err(Error::new(format!("cannot log in with {before}{}", secrets::get(&name)?)))
    }

    /// Panics with a message that tells a secret.
    #[action(retry(attempts = 1))]
    fn panic_with(&self, name: String) -> Result<()> {
        let secret = secrets::get(&name)?;
        panic!("cannot log in with {secret}")
    }

    /// Keeps a secret in the data.
    #[action(retry(attempts = 1))]
    fn keep(&mut self, name: String) -> Result<()> {
        self.kept = format!("it is {}", secrets::get(&name)?);
        Ok(())
    }

    /// Has an action recur with a secret as its period.
    #[action(retry(attempts = 1))]
    fn recur_as(&self, name: String) -> Result<()> {
        schedules::every(&secrets::get(&name)?, "noop")
    }

    /// Listens to what is tagged with a secret.
    #[action(retry(attempts = 1))]
    fn listen_for(&self, name: String) -> Result<()> {
        events::set_filter(events::Filter::new("courier_told", "noop").tag(secrets::get(&name)?))
    }

    /// Keeps a secret in JSON of its own.
    #[action(retry(attempts = 1))]
    fn keep_as_json(&self, name: String) -> Result<()> {
        kv::set("json", &json!({"secret": secrets::get(&name)?}))
    }

    /// Emits an event with a secret in it.
    #[action(retry(attempts = 1))]
    fn tell(&self, name: String) -> Result<()> {
        events::emit("courier_told", [secrets::get(&name)?])
    }

    /// Emits an event.
    #[action(retry(attempts = 1))]
    fn emit(&self, event: String) -> Result<()> {
        events::emit(event, [""])
    }

    /// Subscribes to an event.
    #[action(retry(attempts = 1))]
    fn listen(&self, event: String) -> Result<()> {
        events::set_filter((event, "noop"))
    }

    /// Sets, deletes and reads pairs, one step after the other: `["set", key, value]`, `["fill", key, bytes]`,
    /// `["delete", key]`, `["get", key]`, `["keys", prefix]`, `["fail"]`. What each gave; an error is no failure of the job.
    #[action(retry(attempts = 1))]
    fn pairs(&self, steps: Vec<Vec<Value>>) -> Result<Vec<Value>> {
        let mut gave = Vec::new();
        for step in &steps {
            let text = |at: usize| step.get(at).and_then(Value::as_str).unwrap_or_default();
            let (what, key) = (text(0), text(1));
            let given = step.get(2).cloned().unwrap_or_default();
            let done = match what {
                "set" => kv::set(key, &given).map(|()| Value::Null),
                "fill" => kv::set_bytes(key, &vec![b'x'; given.as_u64().unwrap_or_default() as usize])
                    .map(|()| Value::Null),
                "delete" => kv::delete(key).map(|()| Value::Null),
                "get" => kv::get::<Value>(key).map(|value| json!(value)),
                "length" => kv::get_bytes(key).map(|value| json!(value.map(|value| value.len()))),
                "keys" => kv::keys(key).collect::<Result<Vec<String>>>().map(|keys| json!(keys)),
                "secret" => kv::set(key, &secrets::get(&key.to_lowercase())?).map(|()| Value::Null),
                _ => return Err(Error::new(format!("told to {what}"))),
            };
            gave.push(done.unwrap_or_else(|error| json!(format!("{:?}: {}", error.kind(), error.message()))));
        }
        Ok(gave)
    }

    /// Counts in a pair: the next number, so many times.
    #[action]
    fn count(&self, key: String, times: u64) -> Result<u64> {
        let count = kv::get::<u64>(&key)?.unwrap_or_default() + times;
        kv::set(&key, &count)?;
        Ok(count)
    }

    /// Nothing.
    #[action]
    fn noop(&self) {}
}
