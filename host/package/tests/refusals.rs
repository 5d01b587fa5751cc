//! What is refused, and what is said about it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may

use ays_package::{
    Refusal, Signature, Trust,
    key::{KeyError, PublicKey, SecretKey},
    section::{self, SectionError},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;

/// An empty component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn pair() -> (SecretKey, PublicKey) {
    SecretKey::generate().unwrap()
}

fn signed(file: &[u8], key: &SecretKey) -> String {
    Signature::sign(file, key, "timestamp:1\tfile:a.wasm\thashed").unwrap().to_string()
}

#[test]
fn each_way_of_not_being_trusted_is_told_apart() {
    let ((ours, public), (theirs, _)) = (pair(), pair());
    let trust = Trust::new([public]).unwrap();
    let good = signed(COMPONENT, &ours);
    assert_eq!(trust.check(COMPONENT, Some(&good)).unwrap().key, ours.id());

    let line = |nth: usize| good.lines().nth(nth).unwrap();
    let other = signed(b"another file", &ours);
    let other_line = |nth: usize| other.lines().nth(nth).unwrap();
    // Somebody else's signature that claims to be ours: bytes 2 to 9 of the second line are the key's number.
    let claims = {
        let theirs = signed(COMPONENT, &theirs);
        let second = theirs.lines().nth(1).unwrap();
        // Three bytes are four characters: 16 characters are the algorithm, the number, and two bytes of the signature.
        theirs.replacen(&second[..16], &line(1)[..16], 1)
    };
    let (id, their_id) = (ours.id(), theirs.id());
    let tampered = format!("it was tampered with: the signature of the trusted key {id} does not fit it");
    let unreadable = "its signature cannot be read: it is no minisign signature".to_owned();
    let cases = [
        ("no signature", None, format!("it is not signed; only what the key {id} signed is trusted")),
        (
            "another key",
            Some(signed(COMPONENT, &theirs)),
            format!("it is signed by the key {their_id}, which is not trusted"),
        ),
        ("another file's signature", Some(other.clone()), tampered.clone()),
        ("another key with our number", Some(claims), tampered.clone()),
        ("another comment", Some(good.replace("timestamp:1", "timestamp:2")), tampered.clone()),
        ("another file's comment", Some(good.replace(line(3), other_line(3))), tampered.clone()),
        ("an empty file", Some(String::new()), unreadable.clone()),
        ("something else", Some("hello\nthere\nold\nfriend\n".into()), unreadable.clone()),
        ("a short last line", Some(good.replace(line(3), "AAAA")), unreadable.clone()),
        ("an unknown algorithm", Some(good.replacen(&line(1)[..4], "WFhX", 1)), unreadable.clone()),
        ("much text", Some(format!("{good}{}", "x".repeat(1 << 20))), unreadable),
    ];
    for (what, signature, said) in cases {
        let refusal = trust.check(COMPONENT, signature.as_deref()).expect_err(what);
        assert!(refusal.to_string().starts_with(&said), "{what}: {refusal}");
    }
    for at in 0..COMPONENT.len() {
        let mut changed = COMPONENT.to_vec();
        changed[at] ^= 1;
        assert_eq!(trust.check(&changed, Some(&good)), Err(Refusal::Tampered { key: id }));
    }
}

#[test]
fn one_of_several_keys_is_enough() {
    let ((one, one_public), (two, two_public), (three, _)) = (pair(), pair(), pair());
    let trust = Trust::new([one_public, two_public]).unwrap();
    for key in [&one, &two] {
        assert_eq!(trust.check(COMPONENT, Some(&signed(COMPONENT, key))).unwrap().key, key.id());
    }
    let refusal = trust.check(COMPONENT, Some(&signed(COMPONENT, &three))).unwrap_err();
    assert!(
        refusal.to_string().contains(&format!("one of the keys {}, {}", one.id(), two.id())),
        "{refusal}"
    );
    assert!(Trust::new([]).is_none());
}

#[test]
fn a_key_is_what_its_text_says_whole() {
    let (secret, public) = pair();
    let text = public.to_string();
    let file = public.to_file();
    for good in [text.clone(), format!(" {text}\n"), file.clone(), file.replace('\n', "\r\n")] {
        assert_eq!(good.parse::<PublicKey>().unwrap().to_string(), text, "{good:?}");
    }
    let secret_file = secret.to_open_file().unwrap();
    let cut = &text[..52];
    for wrong in
        ["", "hello", cut, &format!("{text}{text}"), &secret_file, &file[..20], &text.replacen("RW", "XX", 1)]
    {
        assert_eq!(wrong.parse::<PublicKey>().unwrap_err(), KeyError::NotPublic, "{wrong:?}");
    }
    assert_eq!(SecretKey::read(&secret_file, None).unwrap().id(), public.id());
    for wrong in ["", "hello\n", &file, &secret_file[..100]] {
        assert!(matches!(SecretKey::read(wrong, Some("x")), Err(KeyError::NotSecret(_))), "{wrong:?}");
    }
    // A password that nobody asked for does no harm.
    assert!(SecretKey::read(&secret_file, Some("x")).is_ok());
}

#[test]
fn a_manifest_is_written_once_and_read_back() {
    let first = section::write(COMPONENT, r#"{"name":"a"}"#).unwrap();
    assert_eq!(section::read(COMPONENT), Ok(None));
    assert_eq!(section::read(&first), Ok(Some(r#"{"name":"a"}"#)));
    assert_eq!(section::write(&first, r#"{"name":"a"}"#).as_deref(), Ok(first.as_slice()));
    let second = section::write(&first, "é").unwrap();
    assert_eq!(section::read(&second), Ok(Some("é")));
    assert!(!second.windows(4).any(|bytes| bytes == b"name"));

    // A second one, behind our back.
    let twice = [first.as_slice(), &first[COMPONENT.len()..]].concat();
    assert_eq!(section::read(&twice), Err(SectionError::Several(2)));
    assert_eq!(section::write(&twice, "é"), Ok(second));
    // A component in a component keeps its own: section 4, with its length.
    let nested = [COMPONENT, &[4, u8::try_from(first.len()).unwrap()], &first].concat();
    assert_eq!(section::read(&nested), Ok(None));
    assert_eq!(section::read(&section::write(&nested, "{}").unwrap()), Ok(Some("{}")));

    let mut not_text = first.clone();
    *not_text.last_mut().unwrap() = 0xff;
    assert_eq!(section::read(&not_text), Err(SectionError::NotText));
    for wrong in
        [&b""[..], b"\0asm\x01\0\0\0", b"hello", &first[..first.len() - 1], &nested[..nested.len() - 1]]
    {
        assert!(matches!(section::read(wrong), Err(SectionError::NotAComponent(_))), "{wrong:?}");
        assert!(section::write(wrong, "{}").is_err(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,300}") {
        let file = [COMPONENT, &tail].concat();
        let _ = section::surface(&file);
        if section::read(&file).is_ok() {
            let written = section::write(&file, &text).unwrap();
            prop_assert_eq!(section::read(&written), Ok(Some(text.as_str())));
        }
    }

    #[test]
    fn any_text_is_a_signature_or_refused(
        second in proptest::collection::vec(any::<u8>(), 60..80),
        last in proptest::collection::vec(any::<u8>(), 0..70),
        algorithm in prop_oneof![Just("ED"), Just("Ed"), Just("XX")],
    ) {
        let (ours, public) = pair();
        let trust = Trust::new([public.clone()]).unwrap();
        let good = signed(COMPONENT, &ours);
        // With our key's number, so that it is checked to its end.
        let number = ours.id().to_string();
        let number = u64::from_str_radix(&number, 16).unwrap().to_le_bytes();
        let second = BASE64_STANDARD.encode([algorithm.as_bytes(), &number, &second].concat());
        let lines: Vec<_> = good.lines().collect();
        let text = format!("{}\n{second}\n{}\n{}\n", lines[0], lines[2], BASE64_STANDARD.encode(&last));
        prop_assert!(trust.check(COMPONENT, Some(&text)).is_err());
    }
}
