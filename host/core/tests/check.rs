//! Broken files and what is said about them.
//!
//! `tests/check/NN-name.yaml`, `.schema.hrd` and `.actor.hrd` have the messages in `NN-name.expected`, one a line.
//! `UPDATE_GOLDEN=1` writes them anew; then read each.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ays_core::{
    blueprint::{self, Current},
    hrd,
    manifest::{ActionSpec, INTERFACE, Instancing, Manifest, WantedLimits},
    problem::Problem,
};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// An actor as the SDK makes it of its two files.
fn actor(name: &str, schema: &str, config: &str, actions: &[&str]) -> Manifest {
    let config = hrd::parse_actor("actor.hrd", config).unwrap();
    let action = |action: &&str| ActionSpec {
        recurring: config.recurring.get(*action).cloned(),
        ..ActionSpec::named(*action)
    };
    Manifest {
        interface: INTERFACE.into(),
        sdk: String::new(),
        name: name.parse().unwrap(),
        actions: actions.iter().map(action).collect(),
        schema: hrd::parse_schema("schema.hrd", schema).unwrap(),
        schema_version: 0,
        filters: Vec::new(),
        capabilities: Default::default(),
        limits: WantedLimits::default(),
        instance: Instancing::Resident,
    }
}

fn actors() -> BTreeMap<String, Manifest> {
    let node = |file: &str| fs::read_to_string(tests().join("guests/node").join(file)).unwrap();
    let recurring = "recurring.send_message =\n  period: '5s',\n  log: True\n";
    let schema = "msg = type:str default:'hello prince'";
    let handlers = ["init", "on_producer_installed1", "on_producer_installed2", "on_new_msg_sent"];
    let life = ["init", "install", "uninstall", "start", "stop", "monitor", "processChange"];
    [
        actor("actproducer", schema, recurring, &["install", "send_message"]),
        actor("actconsumer", "", "", &handlers),
        actor("node", &node("schema.hrd"), &node("actor.hrd"), &life),
    ]
    .into_iter()
    .map(|manifest| (manifest.name.to_string(), manifest))
    .collect()
}

fn problems(path: &Path, actors: &BTreeMap<String, Manifest>) -> Vec<Problem> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let found = if name.ends_with(".schema.hrd") {
        hrd::parse_schema(name, &text).err()
    } else if name.ends_with(".actor.hrd") {
        hrd::parse_actor(name, &text).err()
    } else {
        blueprint::plan_files([(name, text.as_str())], actors, &Current::default()).err()
    };
    found.unwrap_or_default()
}

#[test]
fn every_broken_file_is_refused_with_its_place_and_what_would_be_right() {
    let actors = actors();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(tests().join("check")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(stem) = [".yaml", ".schema.hrd", ".actor.hrd"].iter().find_map(|end| name.strip_suffix(end))
        else {
            assert!(name.ends_with(".expected"), "{name} is no case");
            continue;
        };
        cases += 1;
        let said: String = problems(path, &actors).iter().map(|problem| format!("{problem}\n")).collect();
        assert!(!said.is_empty(), "{name} was accepted");
        assert!(
            said.lines().all(|line| line.starts_with(name)),
            "{name}: a message of several lines:\n{said}"
        );
        let expected = path.with_file_name(format!("{stem}.expected"));
        if update {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{name} now says\n{said}"));
        }
    }
    assert!(cases >= 30, "only {cases} cases were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
