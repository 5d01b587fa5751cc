//! Each trouble, as a real server makes it, is told apart from the others and says what to do.

use std::time::Duration;

use ays_redis::{ConnectOptions, Sort, Trouble, test_server::RedisServer};

use crate::{KEY, connect, run, server};

/// What a trouble means for whoever has it: whether to try again, and whether with a new connection.
fn check(trouble: &Trouble, sort: Sort, again: bool, anew: bool, parts: &[&str]) {
    assert_eq!(trouble.sort(), sort, "{trouble}");
    assert_eq!((trouble.is_transient(), trouble.needs_new_connection()), (again, anew), "{trouble}");
    for part in parts {
        assert!(trouble.to_string().contains(part), "{trouble}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_cannot_be_reached() {
    let port = RedisServer::start().port();
    let nobody = connect(&format!("redis://127.0.0.1:{port}")).await.unwrap_err();
    check(&nobody, Sort::Unreachable, true, true, &["refused", &format!("127.0.0.1:{port}"), "does it run"]);
    let no_socket = connect("unix:///nowhere/redis.sock").await.unwrap_err();
    check(&no_socket, Sort::Unreachable, true, true, &["/nowhere/redis.sock"]);
    let no_name = connect("redis://no-such-host.invalid").await.unwrap_err();
    check(&no_name, Sort::Unreachable, true, true, &["no-such-host.invalid"]);
    let several = connect(&format!("redis+cluster://127.0.0.1:{port},127.0.0.1:1")).await.unwrap_err();
    check(&several, Sort::Unreachable, true, true, &[&format!("127.0.0.1:{port},127.0.0.1:1")]);

    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server(&format!("redis://me:secret@{}", mute.local_addr().unwrap()));
    let hasty = ConnectOptions { connect_timeout: Duration::from_millis(200), ..ConnectOptions::default() };
    let trouble = server.connect(KEY, hasty).await.unwrap_err();
    check(&trouble, Sort::Unreachable, true, true, &["does not answer"]);
}

#[tokio::test]
async fn a_server_that_ends_has_closed_the_connection() {
    let mut redis = RedisServer::start();
    let mut connection = connect(&redis.url()).await.unwrap();
    let mut blocked = connect(&redis.url()).await.unwrap();
    let waiting = tokio::spawn(async move { run(&mut blocked, "BLPOP none 60").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    redis.kill9();
    check(
        &waiting.await.unwrap().unwrap_err(),
        Sort::Disconnected,
        true,
        true,
        &["has closed the connection"],
    );
    for _ in 0..2 {
        check(&run(&mut connection, "PING").await.unwrap_err(), Sort::Disconnected, true, true, &[]);
    }
}

#[tokio::test]
async fn a_user_without_password_or_permission_is_told_what_is_missing() {
    let redis = RedisServer::start_with(&["--requirepass", "secret"]);
    let address = |login: &str| format!("redis://{login}127.0.0.1:{}", redis.port());
    check(&connect(&address("")).await.unwrap_err(), Sort::AuthRequired, false, true, &["USER:PASSWORD@"]);
    check(
        &connect(&format!("{}/1", address(""))).await.unwrap_err(),
        Sort::AuthRequired,
        false,
        true,
        &["USER:PASSWORD@"],
    );
    let wrong = connect(&address(":wrong@")).await.unwrap_err();
    check(&wrong, Sort::WrongPassword, false, true, &["refuses the user or the password"]);
    assert!(!wrong.to_string().contains("wrong@"));

    redis.cli(&[
        "-a",
        "secret",
        "--no-auth-warning",
        "ACL",
        "SETUSER",
        "me",
        "on",
        ">x",
        "~a*",
        "+get",
        "+eval",
    ]);
    let mut connection = connect(&address("me:x@")).await.unwrap();
    check(
        &run(&mut connection, "SET a 1").await.unwrap_err(),
        Sort::NoPermission,
        false,
        false,
        &["set", " +set` permits it"],
    );
    check(&run(&mut connection, "GET b").await.unwrap_err(), Sort::NoPermission, false, false, &["~PATTERN"]);
    let in_script = run(&mut connection, "EVAL return(redis.call('del',KEYS[1])) 1 a").await.unwrap_err();
    check(&in_script, Sort::NoPermission, false, false, &["ACL SETUSER"]);

    let open = RedisServer::start();
    let trouble = connect(&format!("redis://:x@127.0.0.1:{}", open.port())).await.unwrap_err();
    check(&trouble, Sort::WrongPassword, false, true, &["password"]);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_says_why() {
    let redis = RedisServer::start_with(&["--maxmemory", "1"]);
    let mut connection = connect(&redis.url()).await.unwrap();
    for command in ["SET a 1", "EVAL return(redis.call('set',KEYS[1],1)) 1 a"] {
        let trouble = run(&mut connection, command).await.unwrap_err().measured(&mut connection.redis).await;
        check(&trouble, Sort::OutOfMemory, true, false, &["MiB of 0.0 MiB used", "CONFIG SET maxmemory"]);
    }

    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let trouble = run(&mut connection, "SET a 1").await.unwrap_err();
    check(&trouble, Sort::TooFewReplicas, true, false, &["min-replicas-to-write"]);

    redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    redis.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    for command in ["SET a 1", "EVAL return(redis.call('set',KEYS[1],1)) 1 a"] {
        let trouble = run(&mut connection, command).await.unwrap_err();
        check(&trouble, Sort::ReadOnly, true, true, &["is a replica", "primary"]);
    }
    redis.cli(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    check(&run(&mut connection, "GET a").await.unwrap_err(), Sort::ReadOnly, true, true, &[]);
}

#[tokio::test]
async fn a_server_that_takes_no_more_clients_says_so() {
    let redis = RedisServer::start_with(&["--maxclients", "1"]);
    let _only = connect(&redis.url()).await.unwrap();
    for address in [redis.url(), format!("{}/1", redis.url()), redis.url().replace("//", "//:x@")] {
        let trouble = connect(&address).await.unwrap_err();
        // Which of the two depends on whether the answer or the end of the connection is seen first.
        let sort = trouble.sort();
        assert!(matches!(sort, Sort::TooManyClients | Sort::Disconnected), "{trouble}");
        check(&trouble, sort, true, true, &["as many clients as it takes"]);
    }
}

#[tokio::test]
async fn a_server_that_cannot_save_says_so() {
    let redis = RedisServer::start_with(&["--appendonly", "no", "--save", "3600 1"]);
    let mut connection = connect(&redis.url()).await.unwrap();
    run(&mut connection, "SET a 1").await.unwrap();
    // A folder where the snapshot should go.
    let folder = redis.socket().parent().unwrap().join("dump.rdb");
    std::fs::create_dir(folder).unwrap();
    run(&mut connection, "BGSAVE").await.unwrap();
    let trouble = async {
        loop {
            match run(&mut connection, "SET a 1").await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(trouble) => break trouble,
            }
        }
    };
    let trouble = tokio::time::timeout(Duration::from_secs(20), trouble).await.unwrap();
    check(&trouble, Sort::CannotSave, true, false, &["cannot write to its disk", "log"]);
}

#[tokio::test]
async fn a_server_that_is_busy_or_loads_is_worth_waiting_for() {
    let redis = RedisServer::start_with(&["--busy-reply-threshold", "50"]);
    let mut looping = connect(&redis.url()).await.unwrap();
    let script =
        tokio::spawn(async move { run(&mut looping, "EVAL while(true)do(function()end)()end 0").await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let trouble = connect(&redis.url()).await.unwrap_err();
    check(&trouble, Sort::Busy, true, false, &["SCRIPT KILL"]);
    redis.cli(&["SCRIPT", "KILL"]);
    check(&script.await.unwrap().unwrap_err(), Sort::Other, false, false, &["SCRIPT KILL"]);

    let mut redis = RedisServer::start_with(&[
        "--appendonly",
        "no",
        "--save",
        "",
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    redis.cli(&["DEBUG", "POPULATE", "3000"]);
    redis.cli(&["SAVE"]);
    let address = redis.url();
    // Comes back when the data are loaded.
    let restart = std::thread::spawn(move || {
        redis.restart();
        redis
    });
    let loading = async {
        loop {
            match connect(&address).await {
                Err(trouble) if trouble.sort() == Sort::Loading => break trouble,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let trouble = tokio::time::timeout(Duration::from_secs(20), loading).await.unwrap();
    check(&trouble, Sort::Loading, true, false, &["is loading its data"]);
    let _redis = restart.join().unwrap();
    connect(&address).await.unwrap();
}

#[tokio::test]
async fn what_a_server_does_not_know_or_holds_otherwise_is_told() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis.url()).await.unwrap();
    run(&mut connection, "SET a 1").await.unwrap();
    let hash = "0".repeat(40);
    let table = [
        ("NOTHING a", Sort::UnknownCommand, false),
        ("EVAL return(redis.call('nothing')) 0", Sort::UnknownCommand, false),
        ("LPUSH a 1", Sort::WrongType, false),
        ("EVAL return(redis.call('lpush',KEYS[1],1)) 1 a", Sort::WrongType, false),
        (&format!("EVALSHA {hash} 0"), Sort::NoScript, true),
        ("EVAL return(redis.error_reply('ERR_no_fence')) 0", Sort::Other, false),
        ("SET a", Sort::Other, false),
    ];
    for (command, sort, again) in table {
        check(&run(&mut connection, command).await.unwrap_err(), sort, again, false, &[]);
    }
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg("b").arg(1).cmd("LPUSH").arg("b").arg(1);
    let error = pipe.query_async::<()>(&mut connection.redis).await.unwrap_err();
    check(&Trouble::of(&error, &connection.node), Sort::WrongType, false, false, &[]);
}
