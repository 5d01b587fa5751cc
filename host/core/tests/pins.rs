//! Versions of actors that blueprints insist on.
#![allow(clippy::unwrap_used)] // a test may

use std::collections::BTreeMap;

use ays_core::{Digest, blueprint::check_pins};

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

#[test]
fn a_pin_holds_for_the_one_digest_and_for_nothing_else() {
    let loaded = [("actproducer", 1), ("node", 2), ("other", 0xab)];
    let loaded: BTreeMap<_, _> = loaded.map(|(name, byte)| (name.to_owned(), digest(byte))).into();
    let (one, two) = (digest(1).to_string(), digest(2).to_string());
    let capitals = format!("sha256:{}", "AB".repeat(32));
    let pin =
        |name: &str, digest: &str| format!("node__n:\n\nactors:\n  - name: {name}\n    digest: '{digest}'\n");
    let cases = [
        ("node__n:\n".to_owned(), None),
        ("actors:\n".to_owned(), None),
        (pin("actproducer", &one), None),
        (pin("other", &capitals), None),
        (
            pin("actproducer", &two),
            Some(format!(
                "b.yaml:5: actors[0].digest: pins actproducer to {two}, but the one that is loaded is {one}; the \
                 component that was meant, or the digest of this one, would be right"
            )),
        ),
        (
            pin("actproducr", &one),
            Some(
                "b.yaml:4: actors[0].name: pins `actproducr`, which is not loaded; did you mean `actproducer`? The \
                 actors are actproducer, node, other"
                    .to_owned(),
            ),
        ),
    ];
    for (text, expected) in cases {
        let told = check_pins([("b.yaml", text.as_str())], &loaded).err().unwrap_or_default();
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{text}");
    }
    // In what cannot be read there may be a pin.
    for text in
        ["actors: 5\n", "nonsense: 1\n", "actors:\n  - name: node\n    digest: sha1:00\n", "[unclosed\n"]
    {
        assert_eq!(check_pins([("b.yaml", text)], &loaded).map_err(|told| told.len()), Err(1), "{text}");
    }
    let files = [("a.yaml", pin("node", &two)), ("b.yaml", pin("node", &one))];
    let told = check_pins(files.iter().map(|(name, text)| (*name, text.as_str())), &loaded).unwrap_err();
    assert_eq!(told.iter().map(|p| p.file.as_str()).collect::<Vec<_>>(), ["b.yaml"]);
}

#[test]
fn a_digest_is_read_as_it_is_written() {
    let bytes: [u8; 32] = std::array::from_fn(|nth| u8::try_from(nth * 7).unwrap());
    let digest = Digest::from_bytes(bytes);
    assert_eq!(digest.to_string().parse(), Ok(digest));
    let hex = &digest.to_string()["sha256:".len()..];
    let long = format!("sha256:{hex}0");
    for wrong in
        ["", "sha256:", hex, &long, &format!("sha256:{}", &hex[1..]), &format!("sha256:+{}", &hex[1..])]
    {
        assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
    }
    assert!(format!("sha256:é{}", &hex[2..]).parse::<Digest>().is_err());
}
