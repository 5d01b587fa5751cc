//! What of a real server's configuration endangers data is seen and can be made right.

use ays_redis::{Settings, commands, settings, test_server::RedisServer};

use crate::{connect, run};

fn kinds(settings: &Settings, address: &str) -> Vec<String> {
    let first = |what: String| what.split(':').next().unwrap().to_string();
    settings.warnings(&address.parse().unwrap()).into_iter().map(|warning| first(warning.what)).collect()
}

#[tokio::test]
async fn what_endangers_data_is_warned_of_until_the_given_commands_are_run() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis.url()).await.unwrap();
    let safe = settings(&mut connection).await.unwrap();
    assert_eq!(safe.warnings(&redis.url().parse().unwrap()), []);
    assert_eq!((safe.server.as_deref(), safe.replicas, safe.maxmemory), (Some("redis"), Some(0), Some(0)));
    assert!(redis.cli(&["INFO", "server"]).contains(&format!("redis_version:{}", safe.version.unwrap())));

    let unsafe_settings = [
        ("maxmemory-policy allkeys-lru", "its maxmemory-policy is allkeys-lru"),
        ("appendfsync everysec", "its appendfsync is everysec"),
        ("appendfsync no", "its appendfsync is no"),
        ("appendonly no", "its appendonly is no"),
    ];
    for (setting, what) in unsafe_settings {
        run(&mut connection, &format!("CONFIG SET {setting}")).await.unwrap();
        let found = settings(&mut connection).await.unwrap();
        assert_eq!(kinds(&found, &redis.url()), [what]);
        for warning in found.warnings(&redis.url().parse().unwrap()) {
            // There is no file to write it to.
            let fix = warning
                .fix
                .replace(&format!("&& redis-cli -h 127.0.0.1 -p {} -n 0 CONFIG REWRITE", redis.port()), "");
            let done = std::process::Command::new("sh").arg("-c").arg(&fix).output().unwrap();
            assert!(done.status.success() && done.stdout.starts_with(b"OK"), "{fix}: {done:?}");
        }
        assert_eq!(kinds(&settings(&mut connection).await.unwrap(), &redis.url()), [""; 0], "{setting}");
    }
}

#[tokio::test]
async fn a_server_is_called_by_its_own_name_and_version() {
    let newer = RedisServer::start_newer(&[]);
    let found = settings(&mut connect(&newer.url()).await.unwrap()).await.unwrap();
    assert_eq!(found.server.as_deref(), Some("valkey"));
    assert!(found.version.as_ref().unwrap().starts_with("9."), "{found:?}");
    assert_eq!(found.warnings(&newer.url().parse().unwrap()), []);
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_the_configuration_learns_it_otherwise_or_is_told_so() {
    let redis = RedisServer::start_with(&["--maxmemory-policy", "volatile-lru", "--appendonly", "no"]);
    redis.cli(&["ACL", "SETUSER", "some", "on", ">x", "~*", "+info"]);
    redis.cli(&["ACL", "SETUSER", "none", "on", ">x", "~*", "+get"]);
    let address = |user: &str| format!("redis://{user}:x@127.0.0.1:{}", redis.port());
    let some = settings(&mut connect(&address("some")).await.unwrap()).await.unwrap();
    assert_eq!(
        kinds(&some, &address("some")),
        ["its maxmemory-policy is volatile-lru", "its appendonly is no"]
    );
    let none = settings(&mut connect(&address("none")).await.unwrap()).await.unwrap();
    assert_eq!((none.maxmemory_policy.clone(), none.appendonly, none.version.clone()), (None, None, None));
    assert_eq!(kinds(&none, &address("none")), ["it does not tell this user its maxmemory-policy"]);
}

#[tokio::test]
async fn commands_are_known_by_asking_for_them() {
    let redis = RedisServer::start_with(&["--rename-command", "LMOVE", ""]);
    for address in [redis.url(), format!("{}?protocol=resp3", redis.url())] {
        let mut connection = connect(&address).await.unwrap();
        let known = commands(&mut connection, &["get", "LMOVE", "NOTHING", "BLMOVE"]).await.unwrap();
        assert_eq!(known.into_iter().collect::<Vec<_>>(), ["BLMOVE", "get"]);
    }
}
