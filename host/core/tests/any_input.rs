//! Whatever is written into a file or a queue, its reader returns.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::collections::BTreeMap;

use ays_core::{
    blueprint::{self, Current},
    command, hrd,
    manifest::Manifest,
};
use proptest::prelude::*;

/// Texts that get further than random ones: pieces of the languages in any order.
fn pieces(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::collection::vec(proptest::sample::select(pieces), 0..60).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
        1 => "\\PC*",
    ]
}

const YAML: &[&str] = &[
    "actproducer__p1",
    "actproducer__p2",
    "eventfilters",
    "actions",
    "action",
    "cmd",
    "service",
    "msg",
    "links",
    ":",
    ": ",
    "\n",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "!t ",
    "? ",
    "<<",
    "'",
    "\"",
    "|\n",
    ">",
    "#",
    "~",
    "5",
    "1e999",
    ".nan",
    "true",
    "---\n",
    "...",
    "%",
    "\t",
    "install",
    "p1",
    ".*",
    "(",
    "recurring",
    "5s",
    "é",
    "\0",
    "\u{feff}",
    "p2",
];
const HRD: &[&str] = &[
    "msg",
    "size",
    " = ",
    "=",
    "type:",
    "str",
    "int",
    "float",
    "list",
    "dict",
    "json",
    "set",
    "duration",
    " ",
    "\n",
    "\n  ",
    "default:",
    "'",
    "\"",
    "\\",
    "#",
    ",",
    "[",
    "]",
    "{",
    "}",
    "regex:",
    "(",
    "a+",
    "minval:",
    "maxval:",
    "5",
    "-1",
    "consume:",
    "parent:",
    ":",
    "1",
    "auto",
    "optional",
    "@ask",
    "recurring.",
    "period: ",
    "5s",
    "log: ",
    "True",
    "missed: all",
    "é",
    "\0",
    "description",
    "alias:",
];
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"command\"",
    "\"event\"",
    "\"execute\"",
    "\"args\"",
    "\"service_key\"",
    "\"a__b\"",
    "\"action\"",
    "\"",
    "\\",
    "\\u00",
    "null",
    "1e999",
    "5",
    " ",
    "\"x\"",
    "\"tags\"",
    "é",
    "\0",
];

const MANIFEST: &[&str] = &[
    "{\"interface\":\"ays:actor@0.1.0\",\"name\":\"a\",\"actions\":[",
    "],\"schema\":[",
    "],\"limits\":{",
    "{\"name\":\"a\"}",
    "{\"name\":\"a\",\"type\":\"str\",\"regex\":\"(a+)+\"}",
    "{\"name\":\"a\",\"recurring\":{\"period\":\"5s\"}}",
    "\"cpu_ms\":1",
    "\"memory_bytes\":18446744073709551615",
    ",",
    ":",
    "[",
    "]",
    "{",
    "}",
    "}}",
    "]}",
    "\"filters\"",
    "\"\"",
    "1e999",
    "-1",
    "null",
];

fn actors() -> BTreeMap<String, Manifest> {
    let schema = hrd::parse_schema(
        "s",
        "msg = minval:1 type:int\nlinks = list consume:actproducer:0:2\nup = parent:actproducer auto optional",
    );
    let manifest = serde_json::json!({
        "interface": "", "name": "actproducer", "actions": [{"name": "install"}], "schema": schema.unwrap(),
    });
    [("actproducer".to_owned(), serde_json::from_value(manifest).unwrap())].into()
}

proptest! {
    #[test]
    fn no_blueprint_makes_its_reader_panic(text in pieces(YAML)) {
        let read = blueprint::read("b.yaml", &text);
        let planned = blueprint::plan_files([("b.yaml", text.as_str())], &actors(), &Current::default());
        prop_assert!(read.is_ok() || planned.is_err());
    }

    #[test]
    fn no_hrd_makes_its_readers_panic(text in pieces(HRD)) {
        if let Ok(schema) = hrd::parse_schema("schema.hrd", &text) {
            let json = serde_json::to_string(&schema).unwrap();
            prop_assert_eq!(&serde_json::from_str::<ays_core::schema::Schema>(&json).unwrap(), &schema);
        }
        let _ = hrd::parse_actor("actor.hrd", &text);
    }

    #[test]
    fn no_manifest_makes_its_reader_panic(text in pieces(MANIFEST)) {
        if let Ok(manifest) = serde_json::from_str::<Manifest>(&text) {
            let json = serde_json::to_string(&manifest).unwrap();
            serde_json::from_str::<Manifest>(&json).unwrap();
        }
    }

    #[test]
    fn no_queue_entry_makes_its_reader_panic(text in pieces(JSON), junk in any::<Vec<u8>>()) {
        let _ = command::parse(text.as_bytes(), 1000);
        let _ = command::parse(&junk, 1000);
    }
}

/// Inputs whose cost could grow faster than their length. Each is read in well under a second.
#[test]
fn no_input_costs_much_more_than_its_length() {
    let n = 100_000;
    let bomb = (0..26).fold(String::from("x0: &x0 [a, a]\n"), |text, i| {
        format!("{text}x{}: &x{} [*x{i}, *x{i}]\n", i + 1, i + 1)
    });
    let long_alias = format!("a: &a {}\nb: [{}]", "x".repeat(500_000), "*a, ".repeat(50_000));
    for text in [
        "[".repeat(n),
        "{".repeat(n),
        "- ".repeat(n),
        "? ".repeat(n),
        "a:\n".repeat(n),
        "&a ".repeat(n),
        "'".repeat(n),
        "\"\\".repeat(n),
        "---\n".repeat(n),
        "(".repeat(n),
        bomb,
        long_alias,
        (0..n / 2).map(|i| format!("{}- a\n", " ".repeat(i % 200))).collect(),
        (0..5_000).map(|i| format!("actproducer__{i}: {{msg: x, links: [{}]}}\n", i + 1)).collect(),
        format!("a: {}", "é".repeat(n)),
    ] {
        let _ = blueprint::plan_files([("b.yaml", text.as_str())], &actors(), &Current::default());
        let _ = hrd::parse_schema("schema.hrd", &text);
        let _ = hrd::parse_actor("actor.hrd", &text);
        let _ = command::parse(text.as_bytes(), text.len());
    }
}
