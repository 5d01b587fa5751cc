//! The actors that tests run: the plugins, and the guests in `tests/guests`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::host::binary;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in a folder of the repository")
        .into()
}

/// A folder with the seed's two actors and the test guests, compiled by `ays-host build`.
///
/// The first caller compiles them, for all test processes; cargo does nothing where nothing has changed.
pub fn actors() -> &'static Path {
    static ACTORS: OnceLock<PathBuf> = OnceLock::new();
    ACTORS.get_or_init(|| {
        build(
            "actors",
            &[
                "plugins/actproducer",
                "plugins/actconsumer",
                "tests/guests/probe",
                "tests/guests/node",
                "tests/guests/tally",
            ],
            &[],
        )
    })
}

/// A folder with an actor that asks for requests and secrets.
pub fn courier() -> &'static Path {
    static ACTORS: OnceLock<PathBuf> = OnceLock::new();
    ACTORS.get_or_init(|| build("courier", &["tests/guests/courier"], &[]))
}

/// A folder with the seed's two actors, where the consumer registers nothing in `init`: that is for the blueprint to do.
pub fn actors_without_init() -> &'static Path {
    static ACTORS: OnceLock<PathBuf> = OnceLock::new();
    ACTORS.get_or_init(|| {
        build("actors-without-init", &["plugins/actproducer"], &[]);
        build("actors-without-init", &["plugins/actconsumer"], &["--no-default-features"])
    })
}

/// A folder with a version of the actor `phase`: the first, or one of the crate's features.
pub fn phase(version: &str) -> &'static Path {
    static FOLDERS: Mutex<BTreeMap<String, &'static Path>> = Mutex::new(BTreeMap::new());
    let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    folders.entry(version.to_owned()).or_insert_with(|| {
        let name = format!("phase-{}", if version.is_empty() { "first" } else { version });
        let features = ["--features", version];
        let cargo: &[&str] = if version.is_empty() { &[] } else { &features };
        // A few, for as long as the test runs.
        Box::leak(build(&name, &["tests/guests/phase"], cargo).into_boxed_path())
    })
}

fn build(name: &str, paths: &[&str], cargo: &[&str]) -> PathBuf {
    let target =
        binary().parent().and_then(Path::parent).expect("the binary lies in target/PROFILE").to_owned();
    let folder = target.join("tests").join(name);
    fs::create_dir_all(&folder).expect("cannot make a folder in target");
    let lock = fs::File::create(target.join("tests").join("lock")).expect("cannot make a lock file");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("cannot lock");
    let mut command = Command::new(binary());
    command.arg("build").args(paths).arg("--out").arg(&folder);
    if !cargo.is_empty() {
        command.arg("--").args(cargo);
    }
    let output = command
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target.join("guests"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cannot run ays-host build");
    assert!(output.status.success(), "ays-host build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    folder
}
