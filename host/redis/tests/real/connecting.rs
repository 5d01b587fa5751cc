//! Every way to name a server leads to the node that takes writes of a key now.

use std::time::Duration;

use ays_redis::{
    ConnectOptions, Sort,
    test_server::{Cluster, RedisServer, Sentinel},
};

use crate::{connect, run, server};

const KEY: &str = "{ays:default}:x";

#[tokio::test]
async fn one_server_is_reached_by_host_and_socket_with_user_and_database() {
    let redis = RedisServer::start();
    redis.cli(&["ACL", "SETUSER", "me", "on", ">p#w/", "~*", "+@all"]);
    redis.cli(&["ACL", "SETUSER", "default", "off"]);
    let (port, socket) = (redis.port(), redis.socket().display().to_string());
    let table = [
        (format!("redis://me:p%23w%2F@127.0.0.1:{port}/3"), format!("127.0.0.1:{port}")),
        (format!("redis://me:p%23w%2F@localhost:{port}/3?protocol=resp3"), format!("localhost:{port}")),
        (format!("redis+unix://{socket}?db=3&user=me&pass=p%23w%2F"), socket),
    ];
    for (index, (address, node)) in table.iter().enumerate() {
        let mut connection = connect(address).await.unwrap();
        assert_eq!((&connection.node, connection.cluster), (node, false));
        let length: u64 =
            redis::cmd("RPUSH").arg(KEY).arg(index).query_async(&mut connection.redis).await.unwrap();
        assert_eq!(length, index as u64 + 1, "{address}: the same database");
    }
}

#[tokio::test]
async fn a_command_that_blocks_is_waited_for_and_one_that_should_not_is_not() {
    let redis = RedisServer::start();
    let server = server(&redis.url());
    let waiting = ConnectOptions { response_timeout: None, ..ConnectOptions::default() };
    let mut connection = server.connect(KEY.as_bytes(), waiting).await.unwrap();
    assert_eq!(run(&mut connection, "BLPOP none 1").await.unwrap(), redis::Value::Nil);
    let hasty =
        ConnectOptions { response_timeout: Some(Duration::from_millis(100)), ..ConnectOptions::default() };
    let mut connection = server.connect(KEY.as_bytes(), hasty).await.unwrap();
    let trouble = run(&mut connection, "BLPOP none 1").await.unwrap_err();
    assert_eq!(trouble.sort(), Sort::Silent);
    assert!(trouble.needs_new_connection() && trouble.is_transient() && trouble.is_uncertain());
}

#[tokio::test]
async fn any_node_of_a_cluster_leads_to_the_one_that_serves_the_key_also_after_its_slot_has_moved() {
    let cluster = Cluster::start(3);
    let ports: Vec<u16> = cluster.nodes().iter().map(RedisServer::port).collect();
    let owner = cluster.first_owner(KEY);
    let (other, third) = ((owner + 1) % 3, (owner + 2) % 3);
    let dead = {
        let gone = RedisServer::start();
        gone.port()
    };
    let addresses = [
        format!("redis+cluster://127.0.0.1:{dead},127.0.0.1:{}", ports[third]),
        format!("redis://127.0.0.1:{}", ports[owner]),
        format!("redis://127.0.0.1:{}", ports[third]),
        cluster.nodes()[owner].unix_url(),
        cluster.nodes()[third].unix_url(),
    ];
    let servers = addresses.each_ref().map(|address| server(address));
    let mut connections = Vec::new();
    for server in &servers {
        let mut connection = server.connect(KEY.as_bytes(), ConnectOptions::default()).await.unwrap();
        run(&mut connection, &format!("RPUSH {KEY} a")).await.unwrap();
        connections.push(connection);
    }
    let socket = cluster.nodes()[owner].socket().display().to_string();
    assert!(connections.iter().all(|connection| connection.cluster));
    assert_eq!(
        connections[3].node, socket,
        "a node that serves the key itself is not left for its other address"
    );

    cluster.move_slot(KEY, owner, other);
    for (connection, server) in connections.iter_mut().zip(&servers) {
        let trouble = run(connection, &format!("RPUSH {KEY} b")).await.unwrap_err();
        assert_eq!(trouble.sort(), Sort::Moved, "{trouble}");
        assert!(trouble.needs_new_connection() && trouble.is_transient());
        let mut connection = server.connect(KEY.as_bytes(), ConnectOptions::default()).await.unwrap();
        assert_eq!(connection.node, format!("127.0.0.1:{}", ports[other]), "{}", server.address());
        run(&mut connection, &format!("RPUSH {KEY} b")).await.unwrap();
    }

    let trouble = connect(&format!("redis://127.0.0.1:{}/3", ports[0])).await.unwrap_err();
    assert!(trouble.to_string().contains("only the database 0"), "{trouble}");
}

#[tokio::test]
async fn a_cluster_is_found_again_by_nodes_that_the_address_does_not_name_and_says_when_it_is_down() {
    let mut cluster = Cluster::start(3);
    let owner = cluster.first_owner(KEY);
    let other = (owner + 1) % 3;
    let server = server(&format!("redis://127.0.0.1:{}", cluster.nodes()[other].port()));
    let options = ConnectOptions::default();
    server.connect(KEY.as_bytes(), options).await.unwrap();
    cluster.node_mut(other).kill9();
    // Until the others have noticed, they go on serving what is theirs.
    let connection = server.connect(KEY.as_bytes(), options).await.unwrap();
    assert_eq!(connection.node, format!("127.0.0.1:{}", cluster.nodes()[owner].port()));
    let down = async {
        loop {
            match server.connect(KEY.as_bytes(), options).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(trouble) => break trouble,
            }
        }
    };
    let trouble = tokio::time::timeout(Duration::from_secs(30), down).await.unwrap();
    assert_eq!(trouble.sort(), Sort::ClusterDown, "{trouble}");
    assert!(trouble.is_transient() && trouble.needs_new_connection());
    cluster.node_mut(other).restart();
    cluster.wait_until_ok();
    server.connect(KEY.as_bytes(), options).await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_which_nobody_serves_the_slot_says_so() {
    let redis = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let trouble = connect(&redis.url()).await.unwrap_err();
    assert_eq!(trouble.sort(), Sort::ClusterDown);
    assert!(trouble.to_string().contains("no node serves the slot"), "{trouble}");
}

#[tokio::test]
async fn sentinels_lead_to_the_primary_also_after_a_failover() {
    let mut first = RedisServer::start();
    let second = RedisServer::start_with(&[
        "--replicaof",
        &format!("127.0.0.1 {}", first.port()),
        "--repl-diskless-sync-delay",
        "0",
    ]);
    for _ in 0..300 {
        if first.cli(&["INFO", "replication"]).contains("state=online") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let sentinel = Sentinel::watching(&first, 1);
    let dead = {
        let gone = RedisServer::start();
        gone.port()
    };
    let server =
        server(&format!("redis+sentinel://127.0.0.1:{dead},127.0.0.1:{}/mymaster/2", sentinel.port()));
    let options = ConnectOptions::default();
    let mut connection = server.connect(KEY.as_bytes(), options).await.unwrap();
    assert_eq!(connection.node, format!("127.0.0.1:{}", first.port()));
    run(&mut connection, "SET a 1").await.unwrap();
    run(&mut connection, "WAIT 1 5000").await.unwrap();

    first.kill9();
    let trouble = run(&mut connection, "GET a").await.unwrap_err();
    assert_eq!(trouble.sort(), Sort::Disconnected, "{trouble}");
    sentinel.wait_for_primary(second.port());
    let mut connection = server.connect(KEY.as_bytes(), options).await.unwrap();
    assert_eq!(connection.node, format!("127.0.0.1:{}", second.port()));
    assert_eq!(run(&mut connection, "GET a").await.unwrap(), redis::Value::BulkString(b"1".into()));
    run(&mut connection, "SET a 2").await.unwrap();

    let trouble =
        connect(&format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port())).await.unwrap_err();
    assert!(trouble.to_string().contains("knows no primary `other`"), "{trouble}");
    let trouble =
        connect(&format!("redis+sentinel://127.0.0.1:{}/mymaster", second.port())).await.unwrap_err();
    assert!(trouble.to_string().contains("it is no sentinel"), "{trouble}");
}

#[tokio::test]
async fn a_primary_that_sentinels_name_but_that_is_none_is_not_taken() {
    let primary = RedisServer::start();
    let sentinel = Sentinel::watching_with(&primary, 0, "sentinel auth-pass mymaster x");
    primary.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let trouble =
        connect(&format!("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port())).await.unwrap_err();
    assert_eq!(trouble.sort(), Sort::ReadOnly, "{trouble}");
    assert!(trouble.to_string().contains("still names it"), "{trouble}");
}
