//! Servers that stall, drip, and send without end, and guests that make more requests than they may: each ends within its
//! bounds, and the host's memory stays within its own.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use ays_tests::{Host, courier, host::Start};
use serde_json::json;

/// A server on 127.0.0.1 that answers badly, and how many connections it has and had at most.
struct Server {
    port: u16,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = Self { port, open: open.clone(), most: most.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                let open = open.clone();
                thread::spawn(move || {
                    let _gone = answer(stream);
                    open.fetch_sub(1, SeqCst);
                });
            }
        });
        server
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}/{path}", self.port)
    }
}

/// Answers until the client has gone.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        // What is no text is TLS: it gets no answer.
        if reader.read_line(&mut head).is_err() {
            return wait(reader);
        }
        if head.is_empty() {
            return Ok(());
        }
    }
    let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let at_once = Duration::ZERO;
    match path.as_str() {
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            endlessly(stream, &[b'x'; 1 << 16], at_once)
        }
        "/drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            endlessly(stream, b"x", Duration::from_millis(20))
        }
        "/stall" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nxxx")?;
            wait(reader)
        }
        "/endless-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            endlessly(stream, b"a: b\r\n", at_once)
        }
        "/endless-header" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\na: ")?;
            endlessly(stream, &[b'x'; 1 << 12], at_once)
        }
        "/endless-informations" => endlessly(stream, b"HTTP/1.1 103 Early Hints\r\na: b\r\n\r\n", at_once),
        "/endless-chunk" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;")?;
            endlessly(stream, &[b'x'; 1 << 12], at_once)
        }
        "/endless-trailers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")?;
            endlessly(stream, b"a: b\r\n", at_once)
        }
        _ => wait(reader),
    }
}

fn endlessly(mut stream: TcpStream, piece: &[u8], pause: Duration) -> std::io::Result<()> {
    loop {
        stream.write_all(piece)?;
        thread::sleep(pause);
    }
}

/// Waits until the client has gone.
fn wait(mut reader: BufReader<TcpStream>) -> std::io::Result<()> {
    std::io::copy(&mut reader, &mut std::io::sink()).map(|_| ())
}

/// A host with these services of the courier, which may request from this server. Its errors have backtraces.
fn serving(server: &Server, services: &[&str]) -> Host {
    let services: String = services.iter().map(|name| format!("courier__{name}:\n")).collect();
    let grants: String =
        ["http", "https"].iter().map(|s| format!("    - http {}\n", server.url(s, ""))).collect();
    let grants = grants.replace("/\n", "\n");
    Start::new(courier())
        .blueprint(&format!("{services}grants:\n  courier:\n{grants}    - nothing else\n"))
        .variable("RUST_BACKTRACE", "1")
        .start()
}

/// The most memory that the host had so far, in MiB.
fn peak_mib(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
    kib >> 10
}

#[test]
fn a_server_that_stalls_or_sends_without_end_is_left_and_what_it_sends_is_not_kept() {
    let server = Server::start();
    let host = serving(&server, &["c"]);
    let (brief, long) = (100, 60_000);
    host.run("courier__c", "noop", &json!([]));
    let before = peak_mib(&host);
    for (scheme, path, patience, bytes, told) in [
        ("https", "", [brief, long, long], 0, "ConnectionTimeout"),
        ("http", "silent", [long, brief, long], 0, "HttpResponseTimeout"),
        ("http", "stall", [long, long, brief], 3, "connection read timeout"),
        ("http", "endless", [long; 3], 64 << 20, "67108864"),
        ("http", "endless-head", [long; 3], 0, ""),
        ("http", "endless-header", [long; 3], 0, ""),
        ("http", "endless-informations", [long, 1000, long], 0, ""),
        ("http", "endless-chunk", [long, long, 1000], 0, ""),
        ("http", "endless-trailers", [long; 3], 0, ""),
    ] {
        let job = host.run("courier__c", "read_all", &json!([server.url(scheme, path), 1, patience]));
        let (read, why) = (&job["result"][0][0], job["result"][0][1].as_str().unwrap_or_default());
        println!("{path}: {read} {why}; {} MiB", peak_mib(&host));
        assert!(read.as_u64().is_some_and(|read| read <= bytes) && why.contains(told), "{path}: {job}");
        assert!(!why.is_empty() && why != "end", "{path}: {job}");
        assert!(!why.contains('\n'), "the host's backtrace is not for guests: {job}");
    }
    let most = peak_mib(&host) - before;
    assert!(most < 48, "the host took {most} MiB more");
    host.until("no connection is left open", |_| (server.open.load(SeqCst) == 0).then_some(()));
    // A byte now and then is an answer that goes on; only the job's own time ends it.
    let dripped = host.run("courier__c", "read_for_a_second", &json!([server.url("http", "drip")]));
    assert_eq!(dripped["error"]["kind"], "wall", "{dripped}");
    host.until("the connection ends with the job", |_| (server.open.load(SeqCst) == 0).then_some(()));
}

#[test]
fn the_hosts_own_api_is_reached_only_by_a_grant_that_names_its_port() {
    // Another server on the same machine is reached by the same pattern.
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let other_port = other.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _request = stream.read(&mut [0; 1 << 12]);
            let _gone =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nother");
        }
    });
    let any = "[\"http http://*:* private\", \"http http://127.0.0.1:*\"";
    let host = Start::new(courier())
        .blueprint(&format!("courier__c:\ngrants:\n  courier: {any}, nothing else]\n"))
        .start();
    let own = host.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port");
    let fetch = |name: &str, port: u16| {
        let job = host.run("courier__c", "try_fetch", &json!([format!("http://{name}:{port}/healthz")]));
        job["result"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
    };
    // The last ones are the same place by other names.
    let names = ["127.0.0.1", "localhost", "localhost.", "127.1", "[::ffff:127.0.0.1]"];
    for name in names {
        let said = fetch(name, own);
        let told = said.contains("is this host itself") && said.contains(&format!(":{own}"));
        assert!(said.starts_with("Denied: ") && (told || name.starts_with('[')), "{name}: {said}");
    }
    for name in &names[..2] {
        assert_eq!(fetch(name, other_port), "200 other", "{name}: the same pattern, another port");
    }
    let named = format!("\"http http://127.0.0.1:{own}\", \"http http://localhost:{own} private\"");
    let text = format!("grants:\n  courier: {any}, {named}, nothing else]\n");
    let blueprints = json!({"blueprints": [{"name": "named.yaml", "text": text}]});
    let (status, applied) = host.post("/api/v1/blueprints", &blueprints);
    assert_eq!(status, 200, "{applied}");
    for name in &names[..2] {
        assert_eq!(fetch(name, own), "200 ok\n", "{name}: a grant names the port");
    }
}

#[test]
fn bodies_and_requests_that_a_guest_holds_take_little_of_the_hosts_memory() {
    let server = Server::start();
    let services: Vec<String> = (0..5).map(|n| format!("c{n}")).collect();
    let host = serving(&server, &services.iter().map(String::as_str).collect::<Vec<_>>());
    host.run("courier__c0", "noop", &json!([]));
    let before = peak_mib(&host);
    // The answers of all have begun before the first is read, and none ever ends.
    let long = 60_000;
    let read =
        host.run("courier__c0", "read_all", &json!([server.url("http", "endless"), 16, [long, long, long]]));
    let all = read["result"].as_array().unwrap_or_else(|| panic!("{read}"));
    assert!(all.iter().all(|one| one[1].as_str().is_some_and(|why| why.contains("67108864"))), "{read}");
    // Hundreds at a time: all but sixteen are refused at once.
    let many = host.run("courier__c0", "fetch_many", &json!([format!("127.0.0.1:{}", server.port), 900]));
    assert_eq!(many["result"], 900 - 16, "{many}");
    let most = peak_mib(&host) - before;
    println!("{most} MiB more than before");
    assert!(most < 96, "the host took {most} MiB more");

    // Five services at sixteen each: the server never sees more than 64 at a time, and those that wait end with their jobs.
    host.until("no connection is left open", |_| (server.open.load(SeqCst) == 0).then_some(()));
    server.most.store(0, SeqCst);
    let ask = json!({"action": "hold", "args": [server.url("http", "silent"), 16, 4000], "force": true});
    assert_eq!(host.post("/api/v1/run", &ask).0, 202);
    host.until("as many as may be are under way", |_| (server.open.load(SeqCst) == 64).then_some(()));
    // Others that may be under way, too, have this long to come.
    thread::sleep(Duration::from_millis(500));
    assert_eq!(server.most.load(SeqCst), 64);
    host.until("all have ended", |host| {
        let jobs = host.list("/api/v1/jobs?action=hold&cause=run");
        (jobs.iter().filter(|job| job["state"] == "ok").count() == 5).then_some(())
    });
    host.until("no connection is left open", |_| (server.open.load(SeqCst) == 0).then_some(()));
}
