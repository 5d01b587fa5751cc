//! TLS files, read and checked before anything is connected.

use std::{
    fs,
    path::{Path, PathBuf},
};

use redis::{Client, ClientTlsConfig, ConnectionAddr, TlsCertificates};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::address::TlsFiles;

/// A file for TLS that cannot be used: names the file and says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {} as `{parameter}`: {what}", file.display())]
pub struct InvalidTls {
    parameter: &'static str,
    file: PathBuf,
    what: String,
}

/// How every node is reached by TLS.
#[derive(Clone, Debug)]
pub(crate) struct Tls(ConnectionAddr);

impl Tls {
    /// Where a node listens.
    pub(crate) fn at(&self, node_host: &str, node_port: u16) -> ConnectionAddr {
        let mut address = self.0.clone();
        if let ConnectionAddr::TcpTls { host, port, .. } = &mut address {
            *host = node_host.into();
            *port = node_port;
        }
        address
    }
}

/// Reads the files. Where they name no authority, those of the operating system count.
pub(crate) fn read(files: &TlsFiles) -> Result<Tls, InvalidTls> {
    // Only the first provider of a process is taken. Whichever it is, it does what is needed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wrong = |parameter, file: &Path, what: String| InvalidTls { parameter, file: file.into(), what };
    let read = |parameter, file: &Path| {
        fs::read(file).map_err(|error| wrong(parameter, file, format!("it cannot be read ({error})")))
    };
    let mut certificates = TlsCertificates { client_tls: None, root_cert: None };
    let mut roots = RootCertStore::empty();
    if let Some(file) = &files.authority {
        let pem = read("tls-ca", file)?;
        for certificate in chain(&pem).map_err(|what| wrong("tls-ca", file, what))? {
            roots.add(certificate).map_err(|error| {
                wrong("tls-ca", file, format!("it has a certificate that cannot be understood ({error})"))
            })?;
        }
        certificates.root_cert = Some(pem);
    }
    if let Some((certificate_file, key_file)) = &files.own {
        let certificate = read("tls-cert", certificate_file)?;
        let key = read("tls-key", key_file)?;
        let own = chain(&certificate).map_err(|what| wrong("tls-cert", certificate_file, what))?;
        let own_key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| {
            let what = format!("it has no private key in PEM form without a passphrase ({error})");
            wrong("tls-key", key_file, what)
        })?;
        ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(own, own_key).map_err(
            |error| {
                let what = format!("it does not go with {} ({error})", certificate_file.display());
                wrong("tls-key", key_file, what)
            },
        )?;
        certificates.client_tls = Some(ClientTlsConfig { client_cert: certificate, client_key: key });
    }
    let nowhere = ConnectionAddr::TcpTls { host: String::new(), port: 0, insecure: false, tls_params: None };
    // What redis makes of the files can be had only from a client.
    let client = Client::build_with_tls(nowhere, certificates).map_err(|error| {
        let own = files.own.as_ref().map(|(certificate, _)| certificate);
        let file = files.authority.as_ref().or(own).cloned().unwrap_or_default();
        wrong("tls-ca", &file, error.to_string())
    })?;
    Ok(Tls(client.get_connection_info().addr().clone()))
}

/// The certificates of a file, at least one.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("it is not in PEM form ({error})"))?;
    if chain.is_empty() {
        return Err(
            "it has no certificate in PEM form, which begins with `-----BEGIN CERTIFICATE-----`".into()
        );
    }
    Ok(chain)
}
