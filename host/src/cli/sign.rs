//! `ays-host sign`.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use ays_package::{
    Signature,
    key::{KeyError, SecretKey},
    section,
};

use super::{password, print};
use crate::{clock, package};

/// What `sign` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The components
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The secret key, as `ays-host keygen` or `minisign -G` made it. Its password is asked for, or AYS_KEY_PASSWORD
    /// holds it
    #[arg(long, value_name = "FILE", env = "AYS_KEY", default_value = "ays.key")]
    key: PathBuf,
    /// A line that is signed, too, and shown to who verifies [default: the time and the file's name]
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let key = read_key(args)?;
    for file in &args.files {
        sign(file, &key, args.comment.as_deref()).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn read_key(args: &Args) -> anyhow::Result<SecretKey> {
    let name = args.key.display();
    let text = fs::read_to_string(&args.key).with_context(|| {
        format!("cannot read the secret key {name}; `ays-host keygen` makes one, `--key` names another")
    })?;
    let key = match SecretKey::read(&text, None) {
        Err(KeyError::Locked) => SecretKey::read(&text, Some(&password::known(&name.to_string())?)),
        read => read,
    };
    key.map_err(|why| anyhow::anyhow!("{name}: {why}"))
}

fn sign(file: &std::path::Path, key: &SecretKey, comment: Option<&str>) -> anyhow::Result<()> {
    let component = fs::read(file).context("cannot read it")?;
    if section::read(&component)?.is_none() {
        eprintln!("{} has no manifest inside; `ays-host build` writes it there", file.display());
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let usual = || format!("timestamp:{}\tfile:{name}\thashed", clock::now().millis() / 1000);
    let comment = comment.map_or_else(usual, str::to_owned);
    let signature = Signature::sign(&component, key, &comment)?;
    let out = package::signature_file(file);
    package::replace(&out, signature.to_string().as_bytes())
        .with_context(|| format!("cannot write {}", out.display()))?;
    print(&format!("{} {}\n", out.display(), key.id()))
}
