//! What actors may do beyond their own service: only what they ask for and are granted.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ays_tests::{
    Host,
    actors::courier,
    courier::{granted, run},
    host::{Start, binary},
    redis::RedisServer,
};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;

/// A server of HTTP on 127.0.0.1, which counts its requests.
struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// One for TLS, whose certificate is for `localhost` alone, and that certificate.
    fn start_tls() -> (Self, String) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate is made");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key))
            .map(Arc::new)
            .expect("the certificate fits");
        let server = Self::with(move |stream| {
            let connection = rustls::ServerConnection::new(config.clone()).ok()?;
            let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).ok()?;
                if line.trim().is_empty() {
                    break;
                }
            }
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhidden").ok()
        });
        (server, cert.pem())
    }

    fn start() -> Self {
        Self::with(answer)
    }

    fn with(answer: impl Fn(TcpStream) -> Option<()> + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                thread::spawn(move || answer(stream));
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Answers one request. An error is a client that has gone.
fn answer(mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut parts = head.split_whitespace();
    let (method, path) = (parts.next()?, parts.next()?);
    let mut respond = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).ok()
    };
    if let Some(location) = path.strip_prefix("/to?") {
        return respond("302 Found", &format!("location: {location}\r\n"), "elsewhere");
    }
    match path {
        "/hang" => {
            thread::sleep(ays_tests::host::PATIENCE);
            None
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            let piece = vec![b'x'; 1 << 16];
            loop {
                stream.write_all(&piece).ok()?;
            }
        }
        _ => respond("200 OK", "", &format!("{method} {path} {}", String::from_utf8_lossy(&body))),
    }
}

#[test]
fn a_granted_request_is_made_and_one_that_was_not_granted_is_denied_by_name() {
    let (server, other) = (Server::start(), Server::start());
    let host = granted(&[format!("http GET,POST http://127.0.0.1:{}", server.port)]).start();
    let url = format!("http://127.0.0.1:{}/path?q=1", server.port);

    let answer = run(&host, "fetch", &json!(["POST", url, "the body"]));
    assert_eq!(answer["result"], json!({"status": 200, "body": "POST /path?q=1 the body"}), "{answer}");
    let answer = run(&host, "fetch", &json!(["GET", format!("http://127.0.0.1:{}/to?/there", server.port)]));
    assert_eq!(
        answer["result"]["body"], "GET /there ",
        "a redirect to what is granted is followed: {answer}"
    );

    let before = (server.requests(), other.requests());
    let rule = format!("http DELETE http://127.0.0.1:{}", server.port);
    let denied = run(&host, "fetch", &json!(["DELETE", url]));
    let message = denied["error"]["message"].as_str().unwrap_or_default();
    assert_eq!((&denied["state"], &denied["error"]["kind"]), (&json!("error"), &json!("denied")), "{denied}");
    assert!(message.contains(&format!("courier is not granted `{rule}`")), "{message}");
    assert!(message.ends_with(&format!("courier: [\"{rule}\"]")), "{message}");
    assert!(denied["logs"].to_string().contains("is not granted"), "the job's log tells it, too: {denied}");
    host.wait_for("tells of it", |line| line.contains("is not granted"));

    // By a redirect, and to a port that is not granted; the guest goes on.
    for url in [
        format!("http://127.0.0.1:{}/to?http://127.0.0.1:{}/", server.port, other.port),
        format!("http://127.0.0.1:{}/", other.port),
    ] {
        let tried = run(&host, "try_fetch", &json!([url]));
        let said = tried["result"].as_str().unwrap_or_default();
        let rule = format!("`http GET http://127.0.0.1:{}`", other.port);
        assert!(tried["state"] == "ok" && said.starts_with("Denied: ") && said.contains(&rule), "{tried}");
    }
    assert_eq!((server.requests(), other.requests()), (before.0 + 1, before.1), "nothing denied was sent");
}

#[test]
fn no_name_and_no_redirect_leads_to_an_address_that_was_not_named() {
    let server = Server::start();
    let port = server.port;
    let here = format!("http://127.0.0.1:{port}");
    // What is granted, what is requested, and what is said.
    let table = [
        ("http://*:*", format!("{here}/"), "127.0.0.1 is a loopback address"),
        ("http://*:*", format!("http://localhost:{port}/"), "localhost leads to"),
        ("http://localhost:*", format!("http://localhost:{port}/"), "a loopback address"),
        ("http://*:*", format!("http://localhost.:{port}/"), "a loopback address"),
        ("http://*:*", format!("http://127.1:{port}/"), "127.1 leads to 127.0.0.1"),
        ("http://*:*", format!("http://2130706433:{port}/"), "a loopback address"),
        ("http://*:*", format!("http://0x7f000001:{port}/"), "a loopback address"),
        ("http://*:*", format!("http://[::1]:{port}/"), "a loopback address"),
        ("http://*:*", format!("http://0.0.0.0:{port}/"), "a reserved address"),
        ("http://*:*", "http://10.0.0.1/".into(), "a private address"),
        (
            "http://*:* private",
            "http://169.254.169.254/latest/meta-data/".into(),
            "a cloud's metadata address",
        ),
        ("http://*:* private", "http://[fe80::1]/".into(), "a link-local address"),
        ("http://*:* private", "http://[fd00:ec2::254]/".into(), "a cloud's metadata address"),
    ];
    for grant in ["http://*:*", "http://localhost:*", "http://*:* private"] {
        let host = granted(&[format!("http {grant}"), format!("http {here}")]).start();
        let cases = table.iter().filter(|(of, ..)| *of == grant);
        for (_, url, told) in cases {
            // The server itself is granted by its address, so that redirects can come from it.
            for url in [url.clone(), format!("{here}/to?{url}")] {
                let direct = url == format!("{here}/") || url == format!("{here}/to?{here}/");
                let tried = run(&host, "try_fetch", &json!([url]));
                let said = tried["result"].as_str().unwrap_or_default();
                if direct {
                    assert!(said.starts_with("200 "), "{grant} {url}: {tried}");
                } else {
                    assert!(said.starts_with("Denied: ") && said.contains(told), "{grant} {url}: {tried}");
                }
            }
        }
        let confused = run(&host, "try_fetch", &json!([format!("http://example.com@127.0.0.1:{port}/")]));
        assert!(confused["result"].as_str().unwrap_or_default().starts_with("App: "), "{confused}");
        if grant.ends_with("private") {
            let named = run(&host, "try_fetch", &json!([format!("http://localhost:{port}/x")]));
            assert_eq!(named["result"], "200 GET /x ", "with `private` a name may lead here: {named}");
        }
    }
}

#[test]
fn a_server_must_have_a_certificate_of_its_name_that_the_machine_trusts() {
    let (server, pem) = Server::start_tls();
    let grants = [
        format!("http https://localhost:{} private", server.port),
        format!("http https://127.0.0.1:{}", server.port),
    ];
    let start = granted(&grants);
    let authority = start.path("authority.pem");
    std::fs::write(&authority, pem).expect("it can be written");
    let fetch = |host: &Host, name: &str| {
        run(host, "try_fetch", &json!([format!("https://{name}:{}/", server.port)]))
    };

    let host = start.clone().variable("SSL_CERT_FILE", authority.display().to_string()).start();
    assert_eq!(fetch(&host, "localhost")["result"], "200 hidden");
    let other = fetch(&host, "127.0.0.1");
    let said = other["result"].as_str().unwrap_or_default();
    assert!(said.starts_with("App: ") && said.contains("certificate"), "{other}");
    host.terminate();

    let host = start.start();
    let unknown = fetch(&host, "localhost");
    let said = unknown["result"].as_str().unwrap_or_default();
    assert!(said.starts_with("App: ") && said.contains("certificate"), "{unknown}");
}

#[test]
fn what_a_blueprint_grants_holds_on_all_hosts_that_share_a_store() {
    let redis = RedisServer::start();
    let server = Server::start();
    let start = Start::new(courier()).store(redis.url()).arg("--command-queue").arg("none");
    let hosts = [start.start(), start.start(), start.start()];
    let services: String = (0..12).map(|n| format!("courier__s{n}:\n")).collect();
    let file = start.path("all.yaml");
    let grants = format!("grants:\n  courier: [http http://127.0.0.1:{}, nothing else]\n", server.port);
    std::fs::write(&file, services + &grants).expect("it can be written");
    hosts[0].cli_ok(&["apply", &file.display().to_string()]);
    // At once, on services that are spread over the hosts.
    let args = json!(["GET", format!("http://127.0.0.1:{}/x", server.port)]).to_string();
    hosts[1].cli_ok(&["run", "fetch", "--args", &args, "--wait"]);
    assert_eq!(server.requests(), 12);
}

#[test]
fn requests_are_bounded_in_size_and_number_and_end_with_their_job() {
    let server = Server::start();
    let host = granted(&[format!("http http://127.0.0.1:{}", server.port)]).start();
    let here = format!("127.0.0.1:{}", server.port);
    let endless = run(&host, "try_fetch", &json!([format!("http://{here}/endless")]));
    let said = endless["result"].as_str().unwrap_or_default();
    assert!(
        said.starts_with("App: ") && said.contains("67108864"),
        "64 MiB are the most of an answer: {endless}"
    );
    let many = run(&host, "fetch_many", &json!([here, 20]));
    assert_eq!(many["result"], 4, "16 at a time are the most of a job: {many}");
    // Those of the job that has ended count no more.
    let again = run(&host, "fetch_many", &json!([here, 17]));
    assert_eq!(again["result"], 1, "{again}");
}

#[test]
fn a_secret_is_read_by_name_and_told_nowhere() {
    const VALUE: &str = "s3cr3t-\"value\"\n-of-two-lines";
    let start = granted(&["secret api_*".into(), "kv".into(), "listen courier_*".into()]);
    let folder = start.path("secrets");
    std::fs::create_dir(&folder).expect("it can be made");
    std::fs::write(folder.join("api_key"), format!("{VALUE}\n")).expect("it can be written");
    std::fs::write(folder.join("other"), "another secret").expect("it can be written");
    std::fs::write(folder.join("api_number"), "12345678").expect("it can be written");
    let start = start.arg("--secrets").arg(format!("env:NONE_,dir:{}", folder.display()));
    let start = start.arg("--log-level").arg("debug");
    let host = start.start();

    let revealed = run(&host, "reveal", &json!(["api_key"]));
    assert_eq!(revealed["result"], json!({"secret": "***", "list": ["<***>"], "***": 1}), "{revealed}");
    for action in ["fail_with", "panic_with", "keep", "tell", "listen_for", "keep_as_json"] {
        let job = run(&host, action, &json!(["api_key"]));
        assert_eq!(job["state"], "error", "{job}");
    }
    // Where a message is cut, a part of a secret would show.
    let cut = run(&host, "fail_with", &json!(["api_key", (16 << 10) - 30]));
    assert_eq!(cut["state"], "error", "{cut}");
    let kept = run(&host, "keep", &json!(["api_key"]));
    let message = kept["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the data would hold the value of a secret"), "{kept}");
    // As a period it is one of 142 days.
    let recurs = run(&host, "recur_as", &json!(["api_number"]));
    let message = recurs["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the period would hold the value of a secret"), "{recurs}");
    assert!(host.list("/api/v1/events").is_empty(), "the event was refused");
    for (name, kind, told) in [
        ("other", "denied", "courier: [\"secret other\"]"),
        (
            "api_gone",
            "app",
            "there is no secret `api_gone`; it would be the variable NONE_API_GONE, or the file",
        ),
        ("../other", "app", "names no secret"),
    ] {
        let job = run(&host, "reveal", &json!([name]));
        let message = job["error"]["message"].as_str().unwrap_or_default();
        assert!(job["error"]["kind"] == kind && message.contains(told), "{name}: {job}");
    }

    // Neither in what the API shows, nor in what the host wrote, nor on its disk.
    for path in ["jobs", "services", "dead", "events", "actors"] {
        let shown = serde_json::to_string(&host.list(&format!("/api/v1/{path}"))).expect("it is JSON");
        for part in ["s3cr3t", "of-two-lines", "another secret"] {
            assert!(!shown.contains(part), "{path}: {shown}");
        }
    }
    let (_, lines) = host.terminate();
    assert!(lines.iter().any(|line| line.text.contains("printed: ***")), "the log shows that there was one");
    for line in lines {
        assert!(!line.text.contains("s3cr3t") && !line.text.contains("of-two-lines"), "{}", line.text);
    }
    let found = Command::new("grep")
        .args(["-rla", "s3cr3t"])
        .arg(start.path("state"))
        .output()
        .expect("grep is there");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the store holds the secret");
}

#[test]
fn an_actor_that_asks_for_more_than_it_is_granted_needs_a_grant_which_then_stays() {
    let start = Start::new(courier()).blueprint("courier__c:\n");
    let mut host = start.spawn();
    assert_eq!(host.wait().code(), Some(1));
    let told = host.lines_with("courier asks for `http http://*:* private`");
    let line = &told.first().expect("it tells what is missing").text;
    assert!(line.contains("courier: [\"http http://*:* private\"") && line.contains("--grant"), "{line}");

    let host = start.clone().arg("--grant").start();
    assert_eq!(host.get("/api/v1/actors/courier").1["missing"], json!([]));
    host.terminate();
    let host = start.start();
    assert_eq!(host.get("/api/v1/actors/courier").1["missing"], json!([]), "the grant stayed");

    // Over the API: a blueprint grants in place of what was granted, and is refused if that is less than what is asked.
    let less = "grants:\n  courier: [http http://*:* private]\n";
    let file = start.path("less.yaml");
    // Also where it names no service: the actor has one, and the host would not start again.
    for services in ["", "courier__d:\n"] {
        std::fs::write(&file, format!("{services}{less}")).expect("it can be written");
        let refused = host.cli(&["apply", &file.display().to_string()]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("courier asks for `http http://169.254.169.254`"),
            "{said}"
        );
    }
    let file = file.display().to_string();
    assert_eq!(host.get("/api/v1/services/courier__d").0, 404);
    assert_eq!(host.get("/api/v1/actors/courier").1["missing"], json!([]), "and nothing was changed");
    assert!(host.cli_ok(&["apply", "--grant", &file]).contains("grant courier: "));
    assert_eq!(host.get("/api/v1/services/courier__d").0, 200);
}

#[test]
fn check_prints_what_is_asked_for_and_not_granted() {
    let folder = tempfile::tempdir().expect("there is room");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("it can be written");
        folder.path().join(name).display().to_string()
    };
    let blueprint = write("b.yaml", "courier__c:\ngrants:\n  courier: [http http://*:* private]\n");
    let grants = write("g.yaml", "grants:\n  '*': [kv, 'secret *', http https://*:* private]\n");
    let deny = write(
        "d.yaml",
        "grants:\n  '*': [kv, 'secret *', http https://*:* private]\ndeny:\n  courier: [http http://127.0.0.1:*, http http://169.254.169.254]\n",
    );
    let broken = write("x.yaml", "grant:\n  courier: []\ndeny:\n  courier: [htp x]\n");
    let check = |args: &[&str]| {
        let output = Command::new(binary())
            .args(["check", &blueprint, "--code-cache", "none", "--actors"])
            .arg(courier())
            .args(args)
            .output()
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, told) = check(&["--grants", &grants]);
    assert_eq!(code, Some(1));
    let missing =
        "b.yaml: grants.courier: courier asks for `http http://169.254.169.254`, which it is not granted";
    assert!(told.contains(missing), "{told}");
    let (code, shown, _) = check(&["--grants", &grants, "--grant"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("courier is not granted http http://169.254.169.254\n"), "{shown}");
    let (code, shown, told) = check(&["--grants", &deny]);
    assert_eq!(code, Some(0), "what is denied is decided: {told}");
    assert!(shown.contains("grant courier: http http://*:* private\n"), "{shown}");
    let (code, _, told) = check(&["--grants", &broken]);
    assert_eq!(code, Some(1));
    for part in ["x.yaml:1: grant:", "did you mean `grants:`?", "x.yaml:4: deny.courier"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn events_are_emitted_and_listened_to_as_asked_for_and_granted() {
    let start = granted(&["emit courier_*".into(), "listen known".into()]);
    let deny = start.path("deny.yaml");
    std::fs::write(&deny, "deny:\n  '*': [emit courier_denied]\n").expect("it can be written");
    let host = start.arg("--grants").arg(deny.display().to_string()).start();
    for (action, event, told) in [
        ("emit", "courier_came", None),
        ("emit", "other", Some("does not ask for `emit other`")),
        ("emit", "courier_denied", Some("is under `deny:`")),
        ("listen", "known", None),
        ("listen", "unknown", Some("courier: [\"listen unknown\"]")),
    ] {
        let job = run(&host, action, &json!([event]));
        match told {
            None => assert_eq!(job["state"], "ok", "{job}"),
            Some(told) => {
                assert_eq!(job["error"]["kind"], "denied", "{job}");
                assert!(job["error"]["message"].as_str().unwrap_or_default().contains(told), "{job}");
            }
        }
    }
}
