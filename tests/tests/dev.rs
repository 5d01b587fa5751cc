//! The script `dev`, with stand-ins for `just` and the host.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    process::{Command, Stdio},
};

use ays_tests::actors::root;

#[test]
fn dev_demo_is_the_host_itself_so_that_signals_reach_it() {
    let folder = tempfile::tempdir().expect("cannot make a folder");
    let path = |name: &str| folder.path().join(name);
    let script = |name: &str, text: &str| {
        fs::create_dir_all(path(name).parent().expect("it has one")).expect("cannot make a folder");
        fs::write(path(name), text).expect("cannot write");
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).expect("cannot change");
    };
    script("dev", &fs::read_to_string(root().join("dev")).expect("it is there"));
    script(
        "tools/just",
        "#!/bin/sh\nmkdir -p target/release\ncp host target/release/ays-host\necho just $*\n",
    );
    script("host", "#!/bin/sh\necho $$ $*\nexec sleep 60\n");
    script("plugins/examples/eventfilters/blueprint.yaml", "");
    let tools = format!("{}:{}", path("tools").display(), std::env::var("PATH").expect("there is one"));
    let run = |args: &[&str]| {
        let mut command = Command::new(path("dev"));
        command.args(args).env("PATH", &tools).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("cannot run dev")
    };
    let mut demo = run(&["demo", "eventfilters"]);
    let mut lines = BufReader::new(demo.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("just demo-build eventfilters"));
    let host = lines.next().expect("the host begins");
    let start = format!("{} serve plugins/examples/eventfilters/blueprint.yaml ", demo.id());
    assert!(host.starts_with(&start) && host.ends_with("--run install"), "{host}");
    let pid = rustix::process::Pid::from_raw(demo.id().cast_signed()).expect("it has a number");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(demo.wait().expect("it ends").signal(), Some(2), "the signal reached the host");

    let other = run(&["demo", "nothing"]).wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.code() == Some(1) && told.contains("plugins/examples/eventfilters"), "{told}");
    let recipe = run(&["test"]).wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&recipe.stdout).trim(), "just test");
}
