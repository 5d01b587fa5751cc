//! TLS: whom this side trusts, what it shows, and what is said when either does not fit.

use std::fs;

use ays_redis::{
    Server, Sort,
    test_server::{certificates_for, start_tls},
};
use tempfile::TempDir;

use crate::{connect, run};

fn certificates() -> TempDir {
    certificates_for("localhost")
}

#[tokio::test]
async fn a_server_is_trusted_by_the_authority_that_the_address_names_and_by_no_other() {
    let folder = certificates();
    let (redis, port) = start_tls(folder.path(), "no");
    let ca = |name: &str| folder.path().join(name).display().to_string();
    let mut connection =
        connect(&format!("rediss://localhost:{port}?tls-ca={}", ca("ca.pem"))).await.unwrap();
    run(&mut connection, "PING").await.unwrap();
    // An address instead of a name, which the certificate has, too.
    connect(&format!("rediss://127.0.0.1:{port}?tls-ca={}", ca("ca.pem"))).await.unwrap();

    let (redis, trusted, other) = (redis.port(), ca("ca.pem"), ca("other-ca.pem"));
    let table = [
        (format!("rediss://localhost:{port}?tls-ca={other}"), Sort::Tls, "not signed by an authority"),
        (format!("rediss://localhost:{port}"), Sort::Tls, "`?tls-ca=FILE` names the right one"),
        (
            format!("rediss://localhost:{redis}?tls-ca={trusted}"),
            Sort::Unreachable,
            "does it speak TLS on this port?",
        ),
        (format!("redis://localhost:{port}"), Sort::Disconnected, "`rediss://`"),
    ];
    for (address, sort, part) in table {
        let trouble = connect(&address).await.unwrap_err();
        assert_eq!(trouble.sort(), sort, "{address}: {trouble}");
        assert!(trouble.to_string().contains(part), "{address}: {trouble}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_for_another_name_is_refused() {
    let folder = certificates_for("elsewhere.example.com");
    let (_redis, port) = start_tls(folder.path(), "no");
    let ca = folder.path().join("ca.pem");
    let trouble = connect(&format!("rediss://localhost:{port}?tls-ca={}", ca.display())).await.unwrap_err();
    assert_eq!(trouble.sort(), Sort::Tls, "{trouble}");
    assert!(trouble.to_string().contains("is for other names"), "{trouble}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_the_one_that_the_address_names() {
    let folder = certificates();
    let (_redis, port) = start_tls(folder.path(), "yes");
    let path = folder.path().display();
    let address = |name: &str| {
        format!(
            "rediss://localhost:{port}?tls-ca={path}/ca.pem&tls-cert={path}/{name}.pem&tls-key={path}/{name}.key"
        )
    };
    let mut connection = connect(&address("client")).await.unwrap();
    run(&mut connection, "PING").await.unwrap();

    let trouble = connect(&format!("rediss://localhost:{port}?tls-ca={path}/ca.pem")).await.unwrap_err();
    assert_eq!(trouble.sort(), Sort::Tls, "{trouble}");
    assert!(trouble.to_string().contains("`?tls-cert=FILE&tls-key=FILE`"), "{trouble}");
    let trouble = connect(&address("stranger")).await.unwrap_err();
    assert_eq!(trouble.sort(), Sort::Tls, "{trouble}");
    assert!(trouble.to_string().contains("does not accept what this side shows"), "{trouble}");
}

#[test]
fn tls_files_that_are_of_no_use_are_named_with_the_reason() {
    let folder = certificates();
    let path = folder.path().display().to_string();
    fs::write(folder.path().join("empty.pem"), "nothing\n").unwrap();
    let table = [
        ("tls-ca=PATH/none.pem", "PATH/none.pem as `tls-ca`: it cannot be read"),
        ("tls-ca=PATH/empty.pem", "PATH/empty.pem as `tls-ca`: it has no certificate"),
        ("tls-ca=PATH/client.key", "PATH/client.key as `tls-ca`: it has no certificate"),
        (
            "tls-cert=PATH/client.pem&tls-key=PATH/client.pem",
            "PATH/client.pem as `tls-key`: it has no private key",
        ),
        (
            "tls-cert=PATH/client.pem&tls-key=PATH/stranger.key",
            "stranger.key as `tls-key`: it does not go with PATH/client.pem",
        ),
    ];
    for (query, part) in table {
        let address = format!("rediss://localhost?{}", query.replace("PATH", &path)).parse().unwrap();
        let error = Server::new(address).unwrap_err().to_string();
        assert!(error.contains(&part.replace("PATH", &path)), "{error}");
    }
}
