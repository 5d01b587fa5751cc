//! Keys and signatures that the `minisign` tool (0.11) made are read here, and what is written with its keys is what it
//! reads.
#![allow(clippy::unwrap_used)] // a test may

use ays_package::{
    Refusal, Signature, Trust,
    key::{KeyError, PublicKey, SecretKey},
};

const FILE: &[u8] = include_bytes!("by_minisign/file.wat");
const OPEN_KEY: &str = include_str!("by_minisign/open.key");
const OPEN_PUB: &str = include_str!("by_minisign/open.pub");
const LOCKED_KEY: &str = include_str!("by_minisign/locked.key");
const LOCKED_PUB: &str = include_str!("by_minisign/locked.pub");
const HASHED: &str = include_str!("by_minisign/hashed.minisig");
const LEGACY: &str = include_str!("by_minisign/legacy.minisig");
const LOCKED: &str = include_str!("by_minisign/locked.minisig");

#[test]
fn what_minisign_signed_is_trusted_and_nothing_else() {
    let (open, locked): (PublicKey, PublicKey) = (OPEN_PUB.parse().unwrap(), LOCKED_PUB.parse().unwrap());
    assert_eq!(open.id().to_string(), "B82ECF73803F51D9");
    // minisign leaves leading zeros out.
    assert_eq!(locked.id().to_string(), "0E00E618C9957CD9");
    assert_eq!(open.to_file(), OPEN_PUB);
    let trust = Trust::new([open.clone()]).unwrap();
    for (signature, comment) in [(HASHED, "first of all"), (LEGACY, "as before 2021")] {
        let signer = trust.check(FILE, Some(signature)).unwrap();
        assert_eq!((signer.key, signer.comment.as_str()), (open.id(), comment));
        assert_eq!(trust.check(b"(module)\n", Some(signature)), Err(Refusal::Tampered { key: open.id() }));
    }
    let unknown = Refusal::UnknownKey { key: locked.id(), trusted: vec![open.id()] };
    assert_eq!(trust.check(FILE, Some(LOCKED)), Err(unknown));
    assert!(Trust::new([open, locked]).unwrap().check(FILE, Some(LOCKED)).is_ok());
}

#[test]
fn the_secret_keys_of_minisign_sign() {
    let trust = Trust::new([OPEN_PUB.parse().unwrap(), LOCKED_PUB.parse().unwrap()]).unwrap();
    let open = SecretKey::read(OPEN_KEY, None).unwrap();
    let signature = Signature::sign(FILE, &open, "again").unwrap().to_string();
    assert_eq!(trust.check(FILE, Some(&signature)).unwrap().comment, "again");

    assert_eq!(SecretKey::read(LOCKED_KEY, None).unwrap_err(), KeyError::Locked);
    assert_eq!(SecretKey::read(LOCKED_KEY, Some("wrong")).unwrap_err(), KeyError::WrongPassword);
    let locked = SecretKey::read(LOCKED_KEY, Some("correct horse")).unwrap();
    let signature = Signature::sign(FILE, &locked, "again").unwrap().to_string();
    assert_eq!(trust.check(FILE, Some(&signature)).unwrap().key, locked.id());
}
