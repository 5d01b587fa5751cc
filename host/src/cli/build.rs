//! `ays-host build`: compiles actors with cargo and puts their components into a folder, each with its manifest inside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use ays_package::{digest, section};
use serde_json::Value;

use super::{compiling::Compiling, inspect, print};
use crate::package;

/// The target that actors are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// What `build` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folders of actors: each with a Cargo.toml
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Where the components go, as ACTOR.wasm
    #[arg(long, value_name = "DIR", env = "AYS_ACTORS", default_value = "actors")]
    out: PathBuf,
    #[command(flatten)]
    compiling: Compiling,
    /// Further arguments for cargo, as --no-default-features
    #[arg(last = true, value_name = "CARGO ARGS")]
    cargo: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    for path in &args.paths {
        let components = compile(path, &args.cargo)?;
        ensure!(
            !components.is_empty(),
            "{}: cargo made no component; an actor's Cargo.toml has `[lib]` with `crate-type = [\"cdylib\"]`",
            path.display()
        );
        for component in components {
            let out = package(&component, &args.out, &args.compiling);
            print(&out.with_context(|| component.display().to_string())?)?;
        }
    }
    Ok(())
}

/// Puts a component into the folder, with what its `describe` says written into it; its file and digest as a line.
fn package(component: &Path, folder: &Path, compiling: &Compiling) -> anyhow::Result<String> {
    let wasm = fs::read(component).context("cannot read it")?;
    let actor = inspect::load(&wasm, compiling)?;
    let wasm = section::write(&wasm, actor.description())?;
    let out = folder.join(format!("{}.wasm", actor.manifest().name));
    package::replace(&out, &wasm).with_context(|| format!("cannot write {}", out.display()))?;
    tell_of_old_signature(&out);
    Ok(format!("{} {}\n", out.display(), digest(&wasm)))
}

/// A signature is of one build. Whether it is of this one, only a key can say; so it stays, and its owner is told.
fn tell_of_old_signature(out: &Path) {
    let beside = package::signature_file(out);
    let is_older =
        || Some(fs::metadata(&beside).ok()?.modified().ok()? < fs::metadata(out).ok()?.modified().ok()?);
    if is_older() == Some(true) {
        eprintln!(
            "{} may be of another build; `ays-host sign {}` signs this one",
            beside.display(),
            out.display()
        );
    }
}

fn compile(path: &Path, more: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let manifest = path.join("Cargo.toml");
    ensure!(manifest.is_file(), "{} is not an actor's folder: it has no Cargo.toml", path.display());
    ensure_target()?;
    // Cargo's talk goes to our standard error; what it made, it says as JSON on standard output.
    let output = Command::new(cargo())
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(&manifest)
        .args(more)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo; rustup installs it")?;
    ensure!(output.status.success(), "{}: cargo build failed", path.display());
    let here = fs::canonicalize(&manifest).context("the Cargo.toml is gone")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(messages.filter_map(|message| component(&message, &here)).collect())
}

/// The component that one of cargo's messages tells of, if it is of the package at `manifest`.
fn component(message: &Value, manifest: &Path) -> Option<PathBuf> {
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    let of = fs::canonicalize(message.get("manifest_path")?.as_str()?).ok()?;
    if of != manifest {
        return None;
    }
    let files = message.get("filenames")?.as_array()?;
    files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Says what to do when Rust cannot compile for the target: cargo's own words ("can't find crate for `core`") do not.
fn ensure_target() -> anyhow::Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("cannot run rustc; rustup installs it")?;
    let folder = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !Path::new(folder.trim()).is_dir() {
        bail!("Rust cannot compile for {TARGET} yet; run `rustup target add {TARGET}` once");
    }
    Ok(())
}
