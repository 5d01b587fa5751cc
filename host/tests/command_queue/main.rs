//! The Redis command queue door, with a real Redis and a real store.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test stands on panics, as tests do"
)]

mod watched_store;

use std::{sync::Arc, time::Duration};

use ays_host::{
    clock,
    door::command_queue::{CommandQueue, Config, Status, StatusReader},
};
use ays_redis::test_server::Cluster;
use ays_store::{
    DeadQuery, Paging, Store,
    embedded::{Embedded, Options},
};
use ays_tests::redis::RedisServer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watched_store::{At, WatchedStore};

const KEY: &str = "db:queue:command";

/// A store in a folder of its own.
struct Kept {
    store: Arc<WatchedStore>,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Kept {
    type Target = Arc<WatchedStore>;

    fn deref(&self) -> &Arc<WatchedStore> {
        &self.store
    }
}

fn store() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path(), "test", Options::default(), clock::now()).unwrap();
    Kept { store: WatchedStore::new(Arc::new(embedded)), _folder: folder }
}

/// A door that runs. Dropped, it dies wherever it is, as with its host.
struct Door {
    task: JoinHandle<ays_store::Result<()>>,
    shutdown: CancellationToken,
    status: StatusReader,
}

impl Door {
    fn open(url: &str, store: &Kept) -> Self {
        let queue = CommandQueue::new(url.parse::<Config>().unwrap(), store.store.clone());
        let (status, shutdown) = (queue.status(), CancellationToken::new());
        Self { task: tokio::spawn(queue.run(shutdown.clone())), shutdown, status }
    }

    async fn die(mut self) {
        self.task.abort();
        assert!((&mut self.task).await.unwrap_err().is_cancelled());
    }

    /// Shuts down in order.
    async fn close(mut self) {
        let began = clock::instant();
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
        assert!(began.elapsed() < Duration::from_millis(500), "shutting down took {:?}", began.elapsed());
    }

    async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let began = clock::instant();
        loop {
            let status = self.status.get();
            if holds(&status) {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "waited in vain for {what}: {status:?}");
            clock::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until this many entries have come through.
    async fn took(&self, entries: u64) {
        self.until(&format!("{entries} entries"), |status| status.accepted + status.dead >= entries).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a program that uses the queue has: a connection.
struct Client(redis::Connection);

impl Client {
    fn of(url: &str) -> Self {
        Self(redis::Client::open(url).unwrap().get_connection().unwrap())
    }

    fn run<T: redis::FromRedisValue>(&mut self, words: &[&[u8]]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.0).unwrap_or_else(|error| {
            panic!(
                "{:?}: {error}",
                words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>()
            )
        })
    }

    fn say(&mut self, line: &str) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.run::<redis::Value>(&words);
    }

    fn push(&mut self, command: &str, key: &str, entries: impl IntoIterator<Item = Vec<u8>>) {
        let entries: Vec<_> = entries.into_iter().collect();
        for some in entries.chunks(1000) {
            let words =
                [command.as_bytes(), key.as_bytes()].into_iter().chain(some.iter().map(Vec::as_slice));
            self.run::<u64>(&words.collect::<Vec<_>>());
        }
    }

    fn len(&mut self, key: &str) -> u64 {
        self.run(&[b"LLEN", key.as_bytes()])
    }
}

fn event(args: impl std::fmt::Display) -> Vec<u8> {
    format!(r#"{{"command": "event", "event": "new_msg_sent", "args": {args}}}"#).into()
}

fn job(args: impl std::fmt::Display) -> Vec<u8> {
    format!(
        r#"{{"command":"execute","repo_path":"/r","service_key":"a__b","action":"install","args":{args}}}"#
    )
    .into()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_entries_are_accepted_in_order_and_an_idle_door_takes_one_within_milliseconds() {
    let (redis, store) = (RedisServer::start(), store());
    let mut client = Client::of(&redis.url());
    client.push("RPUSH", KEY, (0..10_000).map(event));
    let began = clock::instant();
    let door = Door::open(&redis.unix_url(), &store);
    door.took(10_000).await;
    let drained = began.elapsed();
    assert_eq!(store.accepted(), numbers(0..10_000));
    assert_eq!(client.len(KEY), 0);

    let mut waits = Vec::new();
    for number in 10_000..10_020_u32 {
        clock::sleep(Duration::from_millis(20)).await;
        let pushed = clock::instant();
        client.push("RPUSH", KEY, [event(number)]);
        door.took(u64::from(number) + 1).await;
        waits.push(pushed.elapsed());
    }
    waits.sort();
    let status = door.status.get();
    assert!(status.connected && status.last_error.is_none() && status.dead == 0, "{status:?}");
    door.close().await;
    println!(
        "10,000 entries in {drained:?}; one entry in {:?} (median), {:?} (longest)",
        waits[10], waits[19]
    );
    assert!(drained < Duration::from_secs(10), "10,000 entries took {drained:?}");
    assert!(waits[10] < Duration::from_millis(100), "one entry takes {:?}", waits[10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_pushed_by_lpush_jumps_the_line() {
    let (redis, store) = (RedisServer::start(), store());
    let mut client = Client::of(&redis.url());
    client.push("RPUSH", KEY, [event(1), event(2)]);
    client.push("LPUSH", KEY, [event(0)]);
    let door = Door::open(&redis.url(), &store);
    door.took(3).await;
    assert_eq!(store.accepted(), numbers(0..3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_becomes_a_dead_letter_whole_and_the_next_entry_is_accepted() {
    let (redis, store) = (RedisServer::start(), store());
    let mut client = Client::of(&redis.url());
    let table: [(Vec<u8>, &str); 8] = [
        (b"not json".into(), "JSON"),
        (b"".into(), "empty"),
        (b"[]".into(), "list"),
        (br#"{"command":"event","event":5}"#.into(), "`event` is"),
        (br#"{"command":"nope"}"#.into(), "nope"),
        (br#"{"command":"run","run_key":"k","callback_url":"http://localhost/"}"#.into(), "run"),
        (vec![b'a'; 20 << 20], "20971520 bytes"),
        (b"{\"command\":\"event\",\"event\":\"\xff\"}".into(), "UTF-8"),
    ];
    let door = Door::open(&redis.url(), &store);
    for (number, (entry, _)) in table.iter().enumerate() {
        client.push("RPUSH", KEY, [entry.clone(), event(number)]);
    }
    let status = door.until("all", |status| status.accepted == 8 && status.dead == 8).await;
    assert!(status.last_error.is_none(), "{status:?}");
    let mut letters = store.dead(DeadQuery::default(), Paging::default()).await.unwrap().items;
    letters.reverse();
    assert_eq!(letters.len(), table.len());
    for (letter, (raw, reason)) in letters.iter().zip(&table) {
        let entry = letter.entry.as_ref().unwrap();
        let shown = String::from_utf8_lossy(&raw[..raw.len().min(40)]);
        assert!(entry.raw == *raw, "{shown}: {} bytes kept of {}", entry.raw.len(), raw.len());
        assert!(letter.reason.contains(reason), "{shown}: {}", letter.reason);
        assert_eq!(entry.door, "queue");
    }
    let events = store.unmatched(Paging::default()).await.unwrap().items;
    assert_eq!(events.len(), table.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_step_neither_loses_nor_repeats_an_entry() {
    let (redis, store) = (RedisServer::start(), store());
    let mut client = Client::of(&redis.url());
    // Three batches, since an event that follows a job begins a new one: 0 1 2 | 3 4 5 | 6
    let entries = || [event(0), event(1), job(2), event(3), event(4), job(5), event(6)];
    let identity = store.identity();
    let claim = |key: &str| format!("{key}:claim:{identity}");
    let deaths = [
        ("after the claim", (At::Accept, 0), 0, 7),
        ("after the first batch", (At::Accepted, 1), 0, 7),
        ("before the second batch", (At::Accept, 1), 0, 7),
        ("after the second batch", (At::Accepted, 2), 0, 7),
        ("after all batches, before the drop", (At::Accepted, 3), 0, 7),
        ("before the claim", (At::LastClaim, 0), 7, 0),
    ];
    for (number, (when, point, queued, claimed)) in deaths.into_iter().enumerate() {
        store.begin_anew();
        let key = format!("queue{number}");
        let url = format!("{}#{key}", redis.url());
        client.push("RPUSH", &key, entries());
        store.halt_at(Some(point));
        let door = Door::open(&url, &store);
        store.halted().await;
        door.die().await;
        assert_eq!((client.len(&key), client.len(&claim(&key))), (queued, claimed), "{when}");
        store.halt_at(None);

        client.push("RPUSH", &key, [event(7)]);
        let door = Door::open(&url, &store);
        door.until(when, |_| store.accepted().len() >= 8).await;
        door.close().await;
        assert_eq!(store.accepted(), numbers(0..8), "{when}");
        assert_eq!((client.len(&key), client.len(&claim(&key))), (0, 0), "{when}");
    }

    // After the BLMOVE, which has moved one entry, and is not answered.
    store.begin_anew();
    client.push("RPUSH", KEY, entries());
    client.say(&format!("LMOVE {KEY} {} LEFT RIGHT", claim(KEY)));
    let door = Door::open(&redis.url(), &store);
    door.took(7).await;
    assert_eq!(store.accepted(), numbers(0..7), "after BLMOVE");

    // A BLMOVE that comes late, behind a seal: its entry belongs to the next claim.
    door.close().await;
    store.halt_at(Some((At::Accepted, 4)));
    let door = Door::open(&redis.url(), &store);
    client.push("RPUSH", KEY, [event(7)]);
    store.halted().await;
    door.die().await;
    client.push("RPUSH", KEY, [event(8), event(9)]);
    client.say(&format!("LMOVE {KEY} {} LEFT RIGHT", claim(KEY)));
    store.halt_at(None);
    let door = Door::open(&redis.url(), &store);
    door.took(2).await;
    assert_eq!(store.accepted(), numbers(0..10), "after a late BLMOVE");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_somebody_took_out_of_a_sealed_claim_by_hand_are_accepted_when_they_come_again() {
    let (redis, store) = (RedisServer::start(), store());
    let mut client = Client::of(&redis.url());
    let claim = format!("{KEY}:claim:{}", store.identity());
    client.push("RPUSH", KEY, [event(0), event(1)]);
    store.halt_at(Some((At::Accepted, 1)));
    let door = Door::open(&redis.url(), &store);
    store.halted().await;
    door.die().await;
    client.say(&format!("DEL {claim}"));
    client.push("RPUSH", KEY, [event(2), event(3), event(4)]);
    store.halt_at(None);
    let door = Door::open(&redis.url(), &store);
    door.took(3).await;
    assert_eq!(store.accepted(), numbers(0..5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_and_comes_back_while_the_door_drains_it_loses_and_repeats_nothing() {
    let (mut redis, store) = (RedisServer::start(), store());
    Client::of(&redis.url()).push("RPUSH", KEY, (0..6_000).map(event));
    let door = Door::open(&redis.url(), &store);
    for entries in [300, 2_000, 4_000] {
        door.took(entries).await;
        redis.kill9();
        let status = door.until("the loss", |status| !status.connected).await;
        assert!(status.last_error.unwrap().contains("127.0.0.1"));
        redis.restart();
        door.until("the return", |status| status.connected && status.last_error.is_none()).await;
    }
    door.took(6_000).await;
    assert_eq!(store.accepted(), numbers(0..6_000));
    assert_eq!(Client::of(&redis.url()).len(KEY), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_in_a_cluster_whose_slot_moves_to_another_node_meanwhile_is_read_once_and_in_order() {
    let (cluster, store) = (Cluster::start(3), store());
    let owner = cluster.first_owner(KEY);
    let (next, asked) = ((owner + 1) % 3, (owner + 2) % 3);
    let mut client = Client::of(&cluster.nodes()[owner].url());
    client.push("RPUSH", KEY, (0..20_000).map(event));
    let url = format!("redis+cluster://127.0.0.1:{}", cluster.nodes()[asked].port());
    let door = Door::open(&url, &store);
    door.took(300).await;
    // Until the slot has moved, what is claimed is not accepted.
    store.refuse(u32::MAX);
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.move_slot(KEY, owner, next);
        cluster
    })
    .await
    .unwrap();
    store.refuse(0);
    assert!(door.status.get().accepted < 20_000, "it moved while there was something to take");
    let mut client = Client::of(&cluster.nodes()[next].url());
    client.push("RPUSH", KEY, (20_000..20_500).map(event));
    door.took(20_500).await;
    door.close().await;
    assert_eq!(store.accepted(), numbers(0..20_500));
    assert_eq!(client.len(KEY) + client.len(&format!("{{{KEY}}}:claim:{}", store.identity())), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_one_store_in_other_databases_and_under_other_keys_do_not_mix() {
    let (redis, store) = (RedisServer::start(), store());
    let queues = [("/0", "a"), ("/0", "b"), ("/5", "a")]
        .map(|(database, key)| (format!("{}{database}", redis.url()), key));
    let mut doors = Vec::new();
    for (number, (url, key)) in queues.iter().enumerate() {
        // Of different lengths: with one count for all, the shorter ones' numbers would pass for accepted.
        let length = 900 >> number;
        Client::of(url).push("RPUSH", key, (0..length).map(|entry| event(number * 1000 + entry)));
        doors.push((Door::open(&format!("{url}#{key}"), &store), length));
    }
    for (door, length) in &doors {
        door.took(*length as u64).await;
    }
    let accepted = store.accepted();
    for (number, (_, length)) in doors.iter().enumerate() {
        let of_queue: Vec<_> = accepted
            .iter()
            .map(|entry| entry.parse::<usize>().unwrap())
            .filter(|entry| entry / 1000 == number)
            .collect();
        assert_eq!(of_queue, (number * 1000..number * 1000 + length).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_doors_of_one_store_on_one_queue_accept_each_entry_once_and_in_order() {
    let (redis, store) = (RedisServer::start(), store());
    let entries = (0..2_000).map(|number| if number % 100 == 50 { job(number) } else { event(number) });
    Client::of(&redis.url()).push("RPUSH", KEY, entries);
    let (one, two) = (Door::open(&redis.url(), &store), Door::open(&redis.url(), &store));
    let took = |status: &Status| status.accepted + status.dead;
    one.until("all", |status| took(status) + took(&two.status.get()) >= 2_000).await;
    assert_eq!(store.accepted(), numbers(0..2_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_redis_refuses_is_said_clearly_and_the_door_goes_on_when_it_is_over() {
    let (mut redis, store) = (RedisServer::start_with(&["--loglevel", "warning"]), store());
    redis.stop();
    let door = Door::open(&redis.url(), &store);
    let refused = async |part: &str| {
        door.until(part, |status| {
            !status.connected && status.last_error.as_ref().is_some_and(|error| error.contains(part))
        })
        .await;
    };
    let mut count = 0;
    let mut works = async |client: &mut Client, when: &str| {
        client.push("RPUSH", KEY, [event(count)]);
        count += 1;
        door.until(when, |status| status.connected && status.accepted == u64::from(count)).await;
        assert_eq!(store.accepted(), numbers(0..count), "{when}");
    };
    refused("cannot be reached").await;
    redis.restart();
    let mut client = Client::of(&redis.url());
    works(&mut client, "the server has come up").await;

    client.say("SCRIPT FLUSH");
    works(&mut client, "the scripts were flushed").await;

    client.say(&format!("SET {KEY} text"));
    refused("need to be lists").await;
    client.say(&format!("DEL {KEY}"));
    works(&mut client, "the key is a list").await;

    client.say("REPLICAOF 127.0.0.1 1");
    refused("read-only replica").await;
    client.say("REPLICAOF NO ONE");
    works(&mut client, "the server is a primary").await;

    client.say("CONFIG SET maxmemory 1");
    refused("out of memory").await;
    client.say("CONFIG SET maxmemory 0");
    works(&mut client, "there is memory").await;

    client.say("CONFIG SET requirepass secret");
    client.say("CLIENT KILL TYPE normal");
    refused("denies access").await;
    client.say("CONFIG SET requirepass ");
    works(&mut client, "there is no password").await;

    client.say("FLUSHALL");
    works(&mut client, "all was flushed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_the_queue_and_is_not_shown_and_a_full_redis_is_emptied() {
    let (redis, store) = (RedisServer::start_with(&["--requirepass", "sec#ret"]), store());
    let url = format!("redis://:sec%23ret@127.0.0.1:{}", redis.port());
    let mut client = Client::of(&url);
    client.push("RPUSH", KEY, (0..1_000).map(event));
    client.say("CONFIG SET maxmemory 1");
    let wrong = Door::open(&url.replace("%23", "-"), &store);
    let status = wrong.until("the refusal", |status| status.last_error.is_some()).await;
    assert!(status.last_error.as_ref().unwrap().contains("denies access"), "{status:?}");
    assert!(!format!("{status:?}").contains("sec"), "{status:?}");
    let door = Door::open(&url, &store);
    door.took(1_000).await;
    assert_eq!(store.accepted(), numbers(0..1_000));
    assert!(!format!("{:?}", door.status.get()).contains("sec"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_for_a_while_gets_every_entry_once_and_one_that_is_closed_ends_the_door() {
    let (redis, store) = (RedisServer::start(), store());
    let mut client = Client::of(&redis.url());
    store.refuse(5);
    client.push("RPUSH", KEY, (0..300).map(event));
    let mut door = Door::open(&redis.url(), &store);
    door.took(300).await;
    assert_eq!(store.accepted(), numbers(0..300));

    store.close().await.unwrap();
    client.push("RPUSH", KEY, [event(300)]);
    let ended = (&mut door.task).await.unwrap();
    assert!(matches!(ended, Err(ays_store::Error::Closed(_))), "{ended:?}");
    assert_eq!(client.len(KEY) + client.len(&format!("{KEY}:claim:{}", store.identity())), 1);
}

#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that the log can be caught.
#[tokio::test]
async fn a_claim_that_another_store_left_behind_is_not_taken_and_the_warning_says_how_to_return_it() {
    let (redis, store) = (RedisServer::start(), store());
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer({
        let log = log.clone();
        move || log.clone()
    });
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let mut client = Client::of(&redis.url());
    let other = format!("{KEY}:claim:other's");
    client.push("RPUSH", &other, (0..3).map(event));
    client.run::<u64>(&[b"SADD", format!("{KEY}:claims").as_bytes(), other.as_bytes()]);
    client.push("RPUSH", KEY, [event(3)]);

    let door = Door::open(&redis.url(), &store);
    let status = door.until("the claim to be found", |status| !status.stranded.is_empty()).await;
    assert_eq!((status.stranded[0].key.as_str(), status.stranded[0].entries), (other.as_str(), 3));
    assert_eq!(store.accepted(), ["3"]);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let command =
        text.lines().find_map(|line| line.find("redis-cli").map(|at| line[at..].to_string())).unwrap();
    assert!(text.contains("claimed 3 entries"), "{text}");

    door.close().await;
    let done = std::process::Command::new("sh").arg("-c").arg(&command).output().unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
    assert_eq!((client.len(KEY), client.len(&other)), (3, 0), "{command}");
    let door = Door::open(&redis.url(), &store);
    door.took(3).await;
    assert_eq!(store.accepted(), ["3", "0", "1", "2"]);
}
