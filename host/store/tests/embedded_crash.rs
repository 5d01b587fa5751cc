//! The embedded store when its host is killed, and when its files are damaged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests, which need real time to kill at random"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    hash::{BuildHasher, RandomState},
    io::{Read, Seek, SeekFrom, Write},
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ays_core::{
    Id, JsonText, ServiceKey, Timestamp,
    changes::{Changes, NewService},
    event::NewEvent,
    filter::EventFilter,
    job::{Cause, Job, JobState, NewJob},
    turn::Effect,
};
use ays_store::{
    Batch, Error, JobQuery, Paging, RetentionPolicy, Settled, Store,
    embedded::{Embedded, Options},
};

const FOLDER: &str = "AYS_STORE_TEST_FOLDER";
const SERVICES: usize = 5;

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

fn random(below: usize) -> usize {
    usize::try_from(RandomState::new().hash_one(0) % below as u64).unwrap()
}

fn open(folder: &Path) -> Result<Embedded, Error> {
    let mut options = Options::default();
    options.piece_jobs = 500;
    options.job_cache_bytes = 100_000;
    Embedded::open(folder, "test", options, now())
}

fn key(n: usize) -> ServiceKey {
    format!("act__s{n}").parse().unwrap()
}

/// Applies what creates the services that are not there yet, and subscribes all.
async fn set_up(store: &Embedded) {
    let mut changes = Changes::default();
    for n in 0..SERVICES {
        if store.service(&key(n)).await.unwrap().is_none() {
            changes.create.push(NewService {
                key: key(n),
                data: JsonText::parse("0").unwrap(),
                schema: None,
                applied: JsonText::empty_object(),
                links: Default::default(),
                jobs: Vec::new(),
            });
        }
        changes.filters.push((key(n), EventFilter::new("went".parse().unwrap(), "on_went")));
    }
    store.apply(changes, now()).await.unwrap();
}

async fn all_jobs(store: &Embedded) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.jobs(JobQuery::default(), Paging { limit: 1000, cursor }).await.unwrap();
        jobs.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return jobs;
        }
    }
}

/// What is executed in the process that is killed: doors accept, a taker takes and commits; each says what it was
/// told is durable. A job counts its service's data up by one and emits an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is a part of acknowledged_work_survives_kill_9"]
async fn work_until_killed() {
    let folder = PathBuf::from(std::env::var(FOLDER).expect("the folder"));
    let store = Arc::new(open(&folder).unwrap());
    set_up(&store).await;
    for door in 0..2 {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let event = NewEvent::new("went".parse().unwrap(), JsonText::null());
                let cause = Cause::Api { door: "queue".into() };
                let args = JsonText::null();
                let job = NewJob { service: key(door), action: "asked".into(), args, cause, patch: None };
                let batch = Batch { events: vec![event; 1 + random(5)], jobs: vec![job], ..Batch::default() };
                let accepted = store.accept(batch, now()).await.unwrap();
                let mut lines = format!("job {}\n", accepted.jobs[0]);
                for (id, jobs) in accepted.events {
                    lines.push_str(&format!("event {id} {jobs}\n"));
                }
                std::io::stdout().write_all(lines.as_bytes()).unwrap();
            }
        });
    }
    loop {
        let mut attempts = Vec::new();
        for work in store.take(1 + random(4), 1 + random(20), now()).await.unwrap() {
            let mut data: u64 = work.data.as_str().parse().unwrap();
            for mut job in work.jobs {
                data += 1;
                job.state = JobState::Ok;
                job.attempt += 1;
                let done = NewEvent::new("done".parse().unwrap(), JsonText::null());
                let data = Some(JsonText::parse(&data.to_string()).unwrap());
                attempts.push(Settled { job, data, effects: vec![Effect::Emit(done)], after: None });
            }
        }
        let ids: Vec<_> = attempts.iter().map(|attempt| attempt.job.id).collect();
        store.commit(attempts, now()).await.unwrap();
        let lines: String = ids.iter().map(|id| format!("done {id}\n")).collect();
        std::io::stdout().write_all(lines.as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_work_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let rounds = std::env::var("AYS_STORE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let (mut jobs, mut events, mut done) =
        (BTreeSet::<Id>::new(), BTreeMap::<Id, usize>::new(), BTreeSet::<Id>::new());
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["work_until_killed", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            bytes
        });
        tokio::time::sleep(Duration::from_millis(30 + random(600) as u64)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let text = String::from_utf8(reader.join().unwrap()).unwrap();
        assert!(!text.contains("panicked"), "{text}");
        // The last line may be cut.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["job", id] => drop(jobs.insert(id.parse().unwrap())),
                ["event", id, count] => drop(events.insert(id.parse().unwrap(), count.parse().unwrap())),
                ["done", id] => drop(done.insert(id.parse().unwrap())),
                _ => {}
            }
        }

        let store = open(folder.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let found = all_jobs(&store).await;
        let state: BTreeMap<Id, JobState> = found.iter().map(|job| (job.id, job.state)).collect();
        assert_eq!(state.len(), found.len(), "no job is there twice");
        for id in &jobs {
            assert!(state.contains_key(id), "round {round}: job {id} was accepted and is lost");
        }
        for id in &done {
            assert_eq!(state.get(id), Some(&JobState::Ok), "round {round}: job {id} was committed");
        }
        let mut of_event: BTreeMap<Id, usize> = BTreeMap::new();
        for job in &found {
            if let Cause::Event { id, .. } = job.cause {
                *of_event.entry(id).or_default() += 1;
            }
        }
        for (id, count) in &events {
            assert_eq!(of_event.get(id), Some(count), "round {round}: event {id} was accepted");
        }
        assert!(of_event.values().all(|count| *count == SERVICES), "an event is routed whole or not at all");
        let ok = |job: &&Job| job.state == JobState::Ok;
        for n in 0..SERVICES {
            let Some(service) = store.service(&key(n)).await.unwrap() else { continue };
            let count = found.iter().filter(ok).filter(|job| job.service == key(n)).count();
            assert_eq!(service.data.as_str(), count.to_string(), "each job that is ok has its effect once");
        }
        let mut emitted = 0;
        let mut cursor = None;
        loop {
            let page = store.unmatched(Paging { limit: 1000, cursor }).await.unwrap();
            emitted += page.items.len();
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(
            emitted,
            found.iter().filter(ok).count(),
            "each job that is ok has emitted its event once"
        );
        let status = store.status().await.unwrap();
        assert_eq!(status.history, found.iter().filter(ok).count() as u64);
        store.close().await.unwrap();
    }
    assert!(jobs.len() > 20 && done.len() > 20, "{} jobs, {} done: too few to tell", jobs.len(), done.len());
    println!(
        "{rounds} kills; accepted {} jobs and {} events, committed {}",
        jobs.len(),
        events.len(),
        done.len()
    );
}

/// A piece of the history that is dropped must not take another one with it, however often the store is opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_history_leaves_what_comes_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let mut options = Options::default();
        options.piece_jobs = 5;
        Embedded::open(folder.path(), "test", options, now()).unwrap()
    };
    let store = open();
    set_up(&store).await;
    drop(store);
    for round in 0..4 {
        let store = open();
        let day = Timestamp::from_millis(now().millis() + round * 86_400_000);
        for _ in 0..3 {
            let event = NewEvent::new("went".parse().unwrap(), JsonText::null());
            store.accept(Batch { events: vec![event; 2], ..Batch::default() }, day).await.unwrap();
            let work = store.take(SERVICES, 10, day).await.unwrap();
            let ok = |mut job: Job| {
                job.state = JobState::Ok;
                Settled { job, data: None, effects: Vec::new(), after: None }
            };
            store.commit(work.into_iter().flat_map(|work| work.jobs).map(ok).collect(), day).await.unwrap();
        }
        drop(store);
        let store = open();
        assert_eq!(all_jobs(&store).await.len(), 3 * 2 * SERVICES, "round {round}");
        let policy = RetentionPolicy { age_s: 0, jobs: 1_000_000 };
        store.retain(policy, Timestamp::from_millis(day.millis() + 1)).await.unwrap();
        drop(store);
        drop(open());
        assert_eq!(all_jobs(&open()).await.len(), 0);
    }
}

fn newest_journal(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("test/db")).unwrap().map(|file| file.unwrap().path());
    let journals = files.filter(|path| path.extension().is_some_and(|ext| ext == "jnl"));
    journals.max_by_key(|path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap()).unwrap()
}

/// Copies a folder; the journals must be short.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

/// A store whose newest journal holds some synced commits of one job each. Returns where in the file each ended.
async fn journal_of_commits(folder: &Path) -> Vec<(u64, Id)> {
    let store = open(folder).unwrap();
    set_up(&store).await;
    store.close().await.unwrap();
    // Opening cuts off the zeros at the end, so from now on the length of the file tells.
    let store = open(folder).unwrap();
    let mut commits = Vec::new();
    for n in 0..40 {
        let cause = Cause::Api { door: "queue".into() };
        let args = JsonText::of(&"x".repeat(random(6000))).unwrap();
        let job = NewJob { service: key(n % SERVICES), action: "go".into(), args, cause, patch: None };
        let accepted = store.accept(Batch { jobs: vec![job], ..Batch::default() }, now()).await.unwrap();
        commits.push((newest_journal(folder).metadata().unwrap().len(), accepted.jobs[0]));
    }
    store.close().await.unwrap();
    assert!(commits.is_sorted_by(|a, b| a.0 < b.0));
    commits
}

enum Opened {
    /// How many of the jobs are there, counted from the first.
    Holds(usize),
    Refused(String),
}

/// Opens a damaged store; it must not panic, and what it holds must be a prefix.
async fn open_damaged(folder: &Path, commits: &[(u64, Id)]) -> Opened {
    let opened = std::panic::catch_unwind(AssertUnwindSafe(|| open(folder)));
    let store = match opened.expect("opening must not panic") {
        Ok(store) => store,
        Err(Error::Io(why)) => return Opened::Refused(why),
        Err(other) => panic!("{other}"),
    };
    let mut found: Vec<_> = all_jobs(&store).await.into_iter().map(|job| job.id).collect();
    found.sort();
    let prefix: Vec<_> = commits.iter().take(found.len()).map(|(_, id)| *id).collect();
    assert_eq!(found, prefix, "what is there is a prefix of what was committed");
    // And it can be gone on with.
    set_up(&store).await;
    store.close().await.unwrap();
    let again = open(folder).unwrap();
    assert_eq!(all_jobs(&again).await.len(), found.len());
    Opened::Holds(found.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_write_is_cut_off_and_damage_before_synced_changes_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let commits = journal_of_commits(base.path()).await;
    let (first, last) = (commits[0].0, commits[commits.len() - 1].0);
    let before_last = commits[commits.len() - 2].0;
    let (mut refused, mut recovered) = (0, 0);
    for round in 0..60 {
        let folder = tempfile::tempdir().unwrap();
        copy(base.path(), folder.path());
        let path = newest_journal(folder.path());
        // The later half of the rounds damages the last commit, as a power cut does.
        let from = if round < 30 { first } else { before_last };
        let at = from + random(usize::try_from(last - from).unwrap()) as u64;
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        match round % 3 {
            0 => file.set_len(at).unwrap(),
            1 => {
                // Pages that were not written are zeros, whatever lies behind them.
                let zeros = vec![0; random(5000).max(1)];
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&zeros).unwrap();
                file.set_len(last).unwrap();
            }
            _ => {
                let mut byte = [0];
                file.seek(SeekFrom::Start(at)).unwrap();
                file.read_exact(&mut byte).unwrap();
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&[byte[0] ^ (1 << random(8))]).unwrap();
            }
        }
        drop(file);
        let whole = commits.iter().filter(|(end, _)| *end <= at).count();
        match open_damaged(folder.path(), &commits).await {
            Opened::Holds(found) => {
                assert!(found >= whole, "round {round}: {found} of {whole} that lie before the damage");
                recovered += 1;
            }
            Opened::Refused(why) => {
                assert!(
                    at < before_last && round % 3 != 0,
                    "round {round}: refused at {at} of {last}: {why}"
                );
                assert!(why.contains(".jnl is damaged at byte"), "{why}");
                // What the message says to do helps.
                let cut = why.split_once("truncate -s ").expect("the remedy").1;
                let cut: u64 = cut.split_once(' ').unwrap().0.parse().unwrap();
                OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
                let Opened::Holds(found) = open_damaged(folder.path(), &commits).await else {
                    panic!("still refused")
                };
                assert_eq!(found, whole);
                refused += 1;
            }
        }
    }
    println!("{recovered} recovered, {refused} refused");
    assert!(recovered > 20 && refused > 3, "{recovered} recovered, {refused} refused: too few to tell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_held_by_one_host_at_a_time_and_says_by_which() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let refused = open(folder.path()).unwrap_err();
    let Error::Held(why) = &refused else { panic!("{refused}") };
    assert!(why.contains(&format!("process {} on ", std::process::id())), "{why}");
    assert!(why.contains(&now().to_string()[..10]), "{why}");
    // Another namespace is another store.
    let other = Embedded::open(folder.path(), "other", Options::default(), now()).unwrap();
    assert_ne!(other.identity(), store.identity());
    drop(store);
    // What a dead process has left in the file does not matter.
    fs::write(
        folder.path().join("test/lock"),
        "{\"pid\":1,\"host\":\"x\",\"since\":\"2026-01-01T00:00:00.000Z\"}",
    )
    .unwrap();
    let store = open(folder.path()).unwrap();
    store.close().await.unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn what_a_newer_version_wrote_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let path = folder.path().join("test/format.json");
    let right = fs::read(&path).unwrap();
    for (text, said) in [
        ("{\"format\":99,\"written_by\":\"ays-host 9.8.7\",\"more\":1}", "ays-host 9.8.7"),
        ("nonsense", "format.json"),
    ] {
        fs::write(&path, text).unwrap();
        let refused = open(folder.path()).unwrap_err();
        assert!(matches!(&refused, Error::Version(why) if why.contains(said)), "{refused}");
    }
    fs::remove_file(&path).unwrap();
    let refused = open(folder.path()).unwrap_err();
    assert!(matches!(&refused, Error::Version(why) if why.contains("format.json")), "{refused}");
    fs::write(&path, right).unwrap();
    drop(open(folder.path()).unwrap());
}

#[test]
fn a_stores_folder_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder.path().join("new")).unwrap());
    let mode = fs::metadata(folder.path().join("new/test")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
