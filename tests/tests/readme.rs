//! The README's first actor, as it stands there.

use std::{fs, process::Command};

use ays_tests::{
    actors::root,
    host::{Start, binary},
};

/// The first block of this language after a text.
fn block<'a>(page: &'a str, after: &str, language: &str) -> &'a str {
    let rest = page.split_once(after).unwrap_or_else(|| panic!("the README says `{after}`")).1;
    let rest = rest.split_once(&format!("```{language}\n")).expect("a block follows").1;
    rest.split_once("```").expect("the block ends").0
}

#[test]
fn the_first_actor_compiles_and_does_what_the_page_says() {
    let page = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let folder = tempfile::tempdir().expect("cannot make a folder");
    let sdk = root().join("sdk");
    fs::create_dir(folder.path().join("src")).expect("cannot make a folder");
    // What the page's `cargo new`, `cargo add` and `printf` make.
    fs::write(
        folder.path().join("Cargo.toml"),
        format!(
            "[package]\nname = \"greeter\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nays-sdk = {{ path = \
             {sdk:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n\n[lib]\ncrate-type = [\"cdylib\"]\n"
        ),
    )
    .expect("cannot write");
    // The versions that the guests were built with, so that nothing is fetched or compiled a second time.
    fs::copy(root().join("tests/guests/Cargo.lock"), folder.path().join("Cargo.lock")).expect("cannot copy");
    fs::write(folder.path().join("src/lib.rs"), block(&page, "src/lib.rs", "rust")).expect("cannot write");
    let target =
        binary().parent().and_then(|profile| profile.parent()).expect("it lies in target").to_owned();
    let built = Command::new(binary())
        .arg("build")
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", target.join("guests"))
        .output()
        .expect("cannot run ays-host");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert!(String::from_utf8_lossy(&built.stdout).starts_with("actors/greeter.wasm sha256:"));

    let start = Start::new(&folder.path().join("actors")).blueprint(block(&page, "`blueprint.yaml`", "yaml"));
    let host = start.start();
    host.cli_ok(&["emit", "guest_came", "Ada", "Grace"]);
    host.wait_for("door", |line| line.contains("greeter__door greet  welcome Ada and Grace"));
    host.wait_for("phone", |line| line.contains("greeter__phone greet  hello Ada and Grace"));
    let greeted = |host: &ays_tests::Host| {
        host.until("it counts", |host| {
            let (_, service) = host.get("/api/v1/services/greeter__door");
            service["data"]["greeted"].as_i64().filter(|greeted| *greeted > 0)
        })
    };
    assert_eq!(greeted(&host), 1);
    host.kill9();
    assert_eq!(greeted(&start.start()), 1, "the count is what it was after kill -9");
}
