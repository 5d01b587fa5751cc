//! Packages that can be trusted: signed, pinned, and fetched from a registry.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use ays_package::{digest, section};
use ays_registry::test_server::RegistryServer;
use ays_tests::{
    Host, actors,
    host::{Start, binary},
};
use tempfile::TempDir;

/// A folder for one test: `actors` in it for the host, `code` beside it, keys.
struct Bench(TempDir);

impl Bench {
    fn new(names: &[&str]) -> Self {
        let bench = Self(tempfile::tempdir().expect("cannot make a folder"));
        fs::create_dir(bench.path("actors")).expect("cannot make a folder");
        for name in names {
            let file = format!("{name}.wasm");
            fs::copy(actors().join(&file), bench.actor(name)).expect("cannot copy an actor");
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn actor(&self, name: &str) -> PathBuf {
        self.path("actors").join(format!("{name}.wasm"))
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, &[])
    }

    fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(binary());
        // Nobody's credentials, and no terminal to ask at.
        command.env("DOCKER_CONFIG", self.0.path()).stdin(Stdio::null()).current_dir(self.0.path());
        command.args(args).envs(env.iter().copied()).output().expect("cannot run ays-host")
    }

    /// What it prints; it must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text")
    }

    /// What it says; it must fail.
    fn refused(&self, args: &[&str]) -> String {
        told(self.run(args))
    }

    /// Makes a pair of keys; the number of the key.
    fn keys(&self, name: &str) -> String {
        let public = self.ok(&["keygen", name, "--no-password"]);
        let key: ays_package::key::PublicKey = public.parse().expect("it prints the public key");
        key.id().to_string()
    }

    fn sign(&self, actor: &str, key: &str) {
        let (file, key) = (self.actor(actor), format!("{key}.key"));
        self.ok(&["sign", &file.display().to_string(), "--key", &key]);
    }

    fn start(&self) -> Start {
        Start::new(&self.path("actors"))
    }
}

fn told(output: Output) -> String {
    let told = String::from_utf8(output.stderr).expect("it says text");
    assert_eq!(output.status.code(), Some(1), "{told}");
    told
}

/// Another version of a component: another digest, and the same in all else.
fn alter(file: &Path) {
    let mut wasm = fs::read(file).expect("it is there");
    // A custom section, of 2 bytes, whose name is `x`.
    wasm.extend([0, 2, 1, b'x']);
    fs::write(file, wasm).expect("cannot write");
}

fn loaded(host: &Host) -> Vec<String> {
    let actors = host.list("/api/v1/actors");
    actors.iter().map(|actor| actor["name"].as_str().expect("it has a name").to_owned()).collect()
}

#[test]
fn a_host_loads_what_a_trusted_key_signed_and_says_of_each_other_why_not() {
    let bench = Bench::new(&["actconsumer", "actproducer", "node", "probe", "tally"]);
    let (ours, theirs) = (bench.keys("ours"), bench.keys("theirs"));
    for actor in ["actproducer", "actconsumer"] {
        bench.sign(actor, "ours");
    }
    alter(&bench.actor("actconsumer"));
    bench.sign("node", "theirs");
    // What is written into it says less than what it asks for; signed all the same.
    let wasm = fs::read(bench.actor("tally")).expect("it is there");
    let manifest = section::read(&wasm).expect("it is a component").expect("`build` wrote it").to_owned();
    let forged = section::write(&wasm, &manifest.replacen("tally", "tolly", 1)).expect("it is a component");
    fs::write(bench.actor("tally"), forged).expect("cannot write");
    bench.sign("tally", "ours");

    let why = [
        (
            "actconsumer",
            format!("it was tampered with: the signature of the trusted key {ours} does not fit it"),
        ),
        (
            "node",
            format!(
                "it is signed by the key {theirs}, which is not trusted; only what the key {ours} signed is"
            ),
        ),
        ("probe", format!("it is not signed; only what the key {ours} signed is trusted")),
        (
            "tally",
            "its manifest is forged: the section `ays:manifest` and what `describe` returns differ in `name`"
                .to_owned(),
        ),
    ];
    let public = bench.path("ours.pub").display().to_string();
    let host = bench.start().arg("--trust").arg(&public).start();
    assert_eq!(loaded(&host), ["actproducer"]);
    assert_eq!(host.get("/api/v1/actors/actproducer").1["signed_by"], ours);
    for (actor, why) in &why {
        let said = format!("{actor}.wasm: {why}");
        assert_eq!(host.lines_with(&said).len(), 1, "{said}\n{:?}", host.lines_with("wasm"));
    }
    drop(host);

    // The key itself in place of its file, and the other commands.
    let key =
        fs::read_to_string(&public).expect("it is there").lines().nth(1).expect("a second line").to_owned();
    fs::write(bench.path("b.yaml"), "actproducer__p1:\n").expect("cannot write");
    let env = [("AYS_TRUST", key.as_str())];
    let checked = bench.run_with(&["check", "b.yaml", "--actors", "actors", "--code-cache", "code"], &env);
    assert!(checked.status.success(), "{checked:?}");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(why.iter().all(|(_, why)| said.contains(why)), "{said}");
    for (actor, why) in &why[..3] {
        let file = format!("actors/{actor}.wasm");
        for command in
            [&["verify", &file, "--trust", &key][..], &["inspect", &file, "--no-run", "--trust", &key]]
        {
            let said = bench.refused(command);
            assert!(said.contains(why), "{command:?}: {said}");
        }
    }
    let verified = bench.ok(&["verify", "actors/actproducer.wasm", "--trust", &format!("{key}:theirs.pub")]);
    let wasm = fs::read(bench.actor("actproducer")).expect("it is there");
    let begins = format!("actors/actproducer.wasm {} signed by {ours}: timestamp:", digest(&wasm));
    assert!(verified.starts_with(&begins), "{verified}");
    let shown = bench.ok(&["inspect", "actors/actproducer.wasm", "--no-run"]);
    assert!(shown.contains(&format!("signed        by {ours}, it says; nobody checked")), "{shown}");
    assert!(bench.refused(&["inspect", "actors/tally.wasm"]).contains("its manifest is forged"));

    // Without `--trust`, signatures do not matter; a forged manifest does.
    let host = bench.start().start();
    assert_eq!(loaded(&host), ["actconsumer", "actproducer", "node", "probe"]);
}

#[test]
fn a_signature_counts_that_is_written_after_its_component() {
    let bench = Bench::new(&["actproducer", "node"]);
    bench.keys("ours");
    bench.sign("actproducer", "ours");
    let most = fs::metadata(bench.actor("node")).expect("it is there").len() / 2;
    let public = bench.path("ours.pub").display().to_string();
    let host = bench.start().arg("--trust").arg(&public).start();
    assert_eq!(loaded(&host), ["actproducer"]);
    bench.sign("node", "ours");
    host.until("it is loaded", |host| (loaded(host) == ["actproducer", "node"]).then_some(()));
    drop(host);

    // One that is too large is told of as that: half of it would not fit its signature.
    let host =
        bench.start().arg("--trust").arg(&public).arg("--component-size").arg(most.to_string()).start();
    let said = host.lines_with("node.wasm: ");
    let told =
        format!("it has more than {most} bytes, the most that a component may have; `--component-size`");
    assert!(said.len() == 1 && said[0].text.contains(&told), "{said:?}");
}

#[test]
fn a_blueprint_that_pins_another_version_is_not_applied_and_nothing_runs() {
    let bench = Bench::new(&["actproducer"]);
    let wanted = digest(&fs::read(bench.actor("actproducer")).expect("it is there")).to_string();
    let blueprint = format!("actproducer__p1:\nactors:\n  - name: actproducer\n    digest: {wanted}\n");
    let start = bench.start().blueprint(&blueprint);
    let host = start.start();
    assert_eq!(host.list("/api/v1/services").len(), 1);
    let file = start.path("blueprint.yaml").display().to_string();

    // Applied to a host that has another one.
    drop(host);
    alter(&bench.actor("actproducer"));
    let found = digest(&fs::read(bench.actor("actproducer")).expect("it is there")).to_string();
    let what =
        format!("actors[0].digest: pins actproducer to {wanted}, but the one that is loaded is {found}");
    let said = bench.refused(&["check", &file, "--actors", "actors", "--code-cache", "code"]);
    assert!(said.contains(&format!("blueprint.yaml:4: {what}")), "{said}");
    let other = bench.start().start();
    let applied = other.cli(&["apply", &file]);
    assert!(told(applied).contains(&what));
    assert_eq!(other.list("/api/v1/services").len(), 0);

    // A host that is to start with it does not, even where the service is there already.
    let mut host = start.spawn();
    assert_eq!(host.wait().code(), Some(1));
    let said: Vec<_> = host.lines().into_iter().map(|line| line.text).collect();
    let said = said.join("\n");
    assert!(
        said.contains(&what) && said.contains("1 problem in the blueprints; nothing was changed"),
        "{said}"
    );
    assert!(!said.contains("listening"), "{said}");
}

#[test]
fn a_component_goes_to_a_registry_and_comes_back_with_its_signature() {
    let bench = Bench::new(&["node"]);
    let registry = RegistryServer::start();
    let ours = bench.keys("ours");
    bench.keys("theirs");
    bench.sign("node", "ours");
    let wasm = fs::read(bench.actor("node")).expect("it is there");
    let of = digest(&wasm);
    let tag = format!("{}/actors/node:1.0", registry.address());
    let pinned = bench.ok(&["push", &tag, "actors/node.wasm"]).trim().to_owned();
    assert!(pinned.starts_with(&format!("{tag}@sha256:")), "{pinned}");

    for (nth, from) in [&tag, &pinned].into_iter().enumerate() {
        let out = format!("pulled{nth}");
        let printed = bench.ok(&["pull", from, "--out", &out, "--trust", "ours.pub"]);
        assert_eq!(printed, format!("{out}/node.wasm {of}\n"));
        for file in ["node.wasm", "node.wasm.minisig"] {
            let (sent, back) = (bench.path("actors").join(file), bench.path(&out).join(file));
            assert_eq!(fs::read(sent).ok(), fs::read(&back).ok(), "{file}");
        }
        bench.ok(&["verify", &format!("{out}/node.wasm"), "--trust", "ours.pub"]);
    }

    // Nothing that is refused reaches the folder.
    let refused = |args: &[&str], why: &str| {
        let said = bench.refused(&[args, &["--out", "refused"]].concat());
        assert!(said.contains(why), "{args:?}: {said}");
        assert!(!bench.path("refused").exists(), "{args:?}");
    };
    let other = format!("it is signed by the key {ours}, which is not trusted");
    refused(&["pull", &tag, "--trust", "theirs.pub"], &other);
    refused(&["pull", &format!("{tag}1")], "the registry has no such tag or digest");
    fs::remove_file(bench.path("actors/node.wasm.minisig")).expect("it is there");
    let unsigned = format!("{}/actors/node:unsigned", registry.address());
    bench.ok(&["push", &unsigned, "actors/node.wasm"]);
    refused(&["pull", &unsigned, "--trust", "ours.pub"], "it is not signed");
    let blob = registry.blob(&of);
    let mut changed = wasm.clone();
    changed[wasm.len() / 2] ^= 1;
    fs::write(&blob, &changed).expect("cannot write");
    let tampered = format!("the component was tampered with: it should be {of}, and is {}", digest(&changed));
    refused(&["pull", &pinned], &tampered);
    refused(&["pull", &tag, "--trust", "ours.pub"], &tampered);

    // An unsigned one in the place of a signed one leaves no signature behind that is not its own.
    fs::write(&blob, &wasm).expect("cannot write");
    bench.ok(&["pull", &unsigned, "--out", "pulled0"]);
    assert!(!bench.path("pulled0/node.wasm.minisig").exists());
}

#[test]
fn a_secret_key_is_for_its_owner_and_is_never_lost_by_accident() {
    let bench = Bench::new(&["node"]);
    let password = [("AYS_KEY_PASSWORD", "correct horse")];
    let made = bench.run_with(&["keygen"], &password);
    assert!(made.status.success(), "{made:?}");
    let mode = fs::metadata(bench.path("ays.key")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(bench.path("ays.key")).ok();
    assert!(told(bench.run_with(&["keygen"], &password)).contains("ays.key is there already"));
    assert_eq!(fs::read(bench.path("ays.key")).ok(), before);

    let sign = ["sign", "actors/node.wasm"];
    assert!(bench.refused(&sign).contains("AYS_KEY_PASSWORD can hold it"));
    assert!(
        told(bench.run_with(&sign, &[("AYS_KEY_PASSWORD", "wrong")]))
            .contains("ays.key: the password is wrong")
    );
    assert!(!bench.path("actors/node.wasm.minisig").exists());
    let signed = bench.run_with(&sign, &password);
    assert!(signed.status.success(), "{signed:?}");
    bench.ok(&["verify", "actors/node.wasm", "--trust", "ays.pub"]);

    bench.ok(&["keygen", "--force", "--no-password"]);
    assert_ne!(fs::read(bench.path("ays.key")).ok(), before);
    // Misused: exit code 2.
    for wrong in
        [&["verify", "actors/node.wasm"][..], &["verify", "actors/node.wasm", "--trust", "nowhere.pub"]]
    {
        let output = bench.run(wrong);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
