//! Against a real registry.
#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::fs;

use ays_package::{digest, section};
use ays_registry::{
    Access, Login, Package, Reference, RegistryError, pull, push, test_server::RegistryServer,
};

/// An empty component, with a manifest of so many bytes.
fn component(padding: usize) -> Vec<u8> {
    section::write(b"\0asm\x0d\0\x01\0", &format!(r#"{{"name":"node","sdk":"{}"}}"#, "x".repeat(padding)))
        .unwrap()
}

fn reference(server: &RegistryServer, rest: &str) -> Reference {
    format!("{}/{rest}", server.address()).parse().unwrap()
}

#[tokio::test]
async fn what_was_pushed_is_pulled_by_tag_and_by_digest() {
    let server = RegistryServer::start();
    let access = Access::default();
    // The second one is larger than what is sent at a time.
    for (tag, size, signature) in [("1", 10, Some("sig\nna\nture\n")), ("2", 9 << 20, None)] {
        let package = Package { component: component(size), signature: signature.map(str::to_owned) };
        let by_tag = reference(&server, &format!("actors/node:{tag}"));
        let pushed = push(&by_tag, package.clone(), &access).await.unwrap();
        assert_eq!(pushed.component, digest(&package.component));
        // Again, and elsewhere: the same artifact.
        assert_eq!(push(&by_tag, package.clone(), &access).await.unwrap(), pushed);
        let elsewhere = reference(&server, "else/where:x");
        assert_eq!(push(&elsewhere, package.clone(), &access).await.unwrap().component, pushed.component);
        let by_digest = reference(&server, &format!("actors/node@{}", pushed.manifest));
        for from in [&by_tag, &by_digest] {
            let pulled = pull(from, &access).await.unwrap();
            assert_eq!(pulled.package, package, "{from}");
            assert_eq!((pulled.manifest, pulled.component), (pushed.manifest, pushed.component));
        }
        let error = push(&by_digest, package, &access).await.unwrap_err();
        assert!(matches!(error, RegistryError::Pinned { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_manifest_is_laid_out_as_the_ecosystem_has_agreed() {
    let server = RegistryServer::start();
    let package = Package { component: component(0), signature: Some("sig".into()) };
    let pushed = push(&reference(&server, "node:1"), package, &Access::default()).await.unwrap();
    let manifest: serde_json::Value = read(&server, &pushed.manifest);
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(manifest["layers"][0]["digest"], pushed.component.to_string());
    assert_eq!(manifest["annotations"]["ays.minisig"], "sig");
    let config: serde_json::Value =
        read(&server, &manifest["config"]["digest"].as_str().unwrap().parse().unwrap());
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["os"], "wasip2");
    assert_eq!(config["layerDigests"][0], pushed.component.to_string());
    assert_eq!(config["component"]["imports"], serde_json::json!([]));
}

fn read(server: &RegistryServer, of: &ays_core::Digest) -> serde_json::Value {
    serde_json::from_slice(&fs::read(server.blob(of)).unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_refused() {
    let server = RegistryServer::start();
    let access = Access::default();
    let original = component(10);
    let package = Package { component: original.clone(), signature: None };
    let pushed = push(&reference(&server, "node:1"), package, &access).await.unwrap();
    let by_digest = reference(&server, &format!("node@{}", pushed.manifest));
    let change = |of, edit: &dyn Fn(&mut Vec<u8>)| {
        let file = server.blob(of);
        let mut content = fs::read(&file).unwrap();
        edit(&mut content);
        fs::write(file, content).unwrap();
    };
    change(&pushed.component, &|content| *content.last_mut().unwrap() ^= 1);
    for from in [&reference(&server, "node:1"), &by_digest] {
        match pull(from, &access).await.unwrap_err() {
            RegistryError::Tampered { what, expected, found, .. } => {
                assert_eq!((what, expected), ("the component", pushed.component.to_string()));
                assert_ne!(found, pushed.component);
            }
            other => panic!("{other}"),
        }
    }
    change(&pushed.component, &|content| content.push(0));
    assert!(pull(&by_digest, &access).await.is_err());
    fs::write(server.blob(&pushed.component), &original).unwrap();
    assert!(pull(&by_digest, &access).await.is_ok());
    // The manifest: a longer title says something else under the same digest.
    change(&pushed.manifest, &|content| {
        *content = String::from_utf8(content.clone()).unwrap().replace("node", "n0de").into_bytes();
    });
    let error = pull(&by_digest, &access).await.unwrap_err();
    assert!(!matches!(error, RegistryError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn who_may_not_and_what_is_not_there_are_told() {
    let server = RegistryServer::start_locked();
    let to = reference(&server, "actors/node:1");
    let package = Package { component: component(10), signature: None };
    let login = |user: &str, password: &str| Access {
        plain_http: false,
        login: Some(Login { user: user.into(), password: password.into() }),
    };
    for access in [Access::default(), login("user", "wrong")] {
        let error = push(&to, package.clone(), &access).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error:?}");
        let error = pull(&to, &access).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error:?}");
    }
    let access = login("user", "secret");
    let error = pull(&to, &access).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
    push(&to, package, &access).await.unwrap();
    assert!(pull(&to, &access).await.is_ok());

    let gone = reference(&server, "actors/node:1");
    drop(server);
    let error = pull(&gone, &access).await.unwrap_err();
    assert!(matches!(error, RegistryError::Failed { .. }), "{error:?}");
}
