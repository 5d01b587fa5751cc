//! `ays-host check` on broken files, kept with what it says.

use std::process::Command;

use ays_tests::{actors, actors::root, host::binary};

#[test]
fn each_mistake_is_told_with_file_place_and_what_would_be_right() {
    let folder = root().join("tests/check");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the cases are there")
        .map(|entry| entry.expect("it is readable").file_name().into_string().expect("it is UTF-8"))
        .filter(|name| !name.ends_with(".expected"))
        .collect();
    files.sort();
    assert!(files.len() >= 30, "{}", files.len());
    let cache = actors().parent().expect("it lies in a folder").join("code");
    // What is said names the actors there are.
    let known = tempfile::tempdir().expect("cannot make a folder");
    for actor in ["actproducer", "actconsumer", "node"] {
        let file = format!("{actor}.wasm");
        std::fs::copy(actors().join(&file), known.path().join(&file)).expect("cannot copy an actor");
    }
    let mut wrong = Vec::new();
    for file in &files {
        let stem = file.split('.').next().expect("a name has a first part");
        let expected =
            std::fs::read_to_string(folder.join(format!("{stem}.expected"))).expect("it has an answer");
        let output = Command::new(binary())
            .args(["check", file, "--actors"])
            .arg(known.path())
            .arg("--code-cache")
            .arg(&cache)
            .current_dir(&folder)
            .output()
            .expect("cannot run ays-host");
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(1) || told.trim() != expected.trim() || !output.stdout.is_empty() {
            wrong.push(format!("{file} ({}):\n{told}expected:\n{expected}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_good_blueprint_gets_its_plan_and_exit_0() {
    let output = Command::new(binary())
        .args(["check", "plugins/examples/eventfilters/blueprint.yaml", "plugins/actproducer/schema.hrd"])
        .arg("--actors")
        .arg(actors())
        .args(["--code-cache", "none"])
        .current_dir(root())
        .output()
        .expect("cannot run ays-host");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan = String::from_utf8(output.stdout).expect("it is text");
    for part in ["create actproducer__p1", "create actconsumer__c1", "producer_installed", "on_new_msg_sent"]
    {
        assert!(plan.contains(part), "{part}: {plan}");
    }
}
