//! A Redis that speaks TLS, for a test, and certificates for it.

use std::{fs, net::TcpListener, path::Path};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::RedisServer;

/// Certificates for a server of this name, and for 127.0.0.1: `ca.pem`, which has signed `server.pem` and `client.pem`;
/// `other-ca.pem`, which has signed `stranger.pem`. Keys have the same names and end in `.key`.
pub fn certificates_for(host: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    for (authority, names) in [("ca", ["server", "client"].as_slice()), ("other-ca", &["stranger"])] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, authority);
        write(&format!("{authority}.pem"), params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        for name in names {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![host.into(), "127.0.0.1".into()]).unwrap();
            write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
    }
    folder
}

/// A server that speaks TLS, with the certificates of this folder, on the port that is returned, and plainly on another.
/// `clients` says whether they must show a certificate: `yes` or `no`.
pub fn start_tls(folder: &Path, clients: &str) -> (RedisServer, u16) {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let file = |name: &str| folder.join(name).display().to_string();
    let redis = RedisServer::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-auth-clients",
        clients,
    ]);
    (redis, port)
}
