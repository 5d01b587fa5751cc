//! `ays-host keygen`.

use std::{
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use ays_package::key::SecretKey;

use super::{password, print};
use crate::package;

/// What `keygen` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the keys go: NAME.key is secret, NAME.pub is for who is to trust it
    #[arg(value_name = "NAME", default_value = "ays")]
    name: PathBuf,
    /// Leave the secret key unencrypted, instead of asking for a password (AYS_KEY_PASSWORD holds it where nobody can be
    /// asked)
    #[arg(long)]
    no_password: bool,
    /// Replace keys that are there. What was signed with them cannot be signed so again
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (secret_file, public_file) = (with(&args.name, ".key"), with(&args.name, ".pub"));
    for file in [&secret_file, &public_file] {
        if !args.force && file.symlink_metadata().is_ok() {
            bail!("{} is there already; `--force` replaces it, another name keeps it", file.display());
        }
    }
    let (secret, public) = if args.no_password {
        let (secret, public) = SecretKey::generate()?;
        (secret.to_open_file()?, public)
    } else {
        let password = password::new()?;
        eprintln!("encrypting the secret key, which takes some seconds");
        SecretKey::generate_locked(&password)?
    };
    write_secret(&secret_file, &secret, args.force)
        .with_context(|| format!("cannot write {}", secret_file.display()))?;
    package::replace(&public_file, public.to_file().as_bytes())
        .with_context(|| format!("cannot write {}", public_file.display()))?;
    eprintln!(
        "{} is secret, and belongs into no repository: it signs as {}. Who is to load what it signed says `--trust` with {}, or with the key itself:",
        secret_file.display(),
        public.id(),
        public_file.display()
    );
    print(&format!("{public}\n"))
}

/// For its owner alone from the first byte on, and in no other's place unless that is asked for.
fn write_secret(file: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file is made with mode 0600.
    let mut beside = tempfile::Builder::new().suffix(".new").tempfile_in(folder)?;
    beside.write_all(text.as_bytes())?;
    beside.as_file().sync_all()?;
    if force {
        beside.persist(file)?;
    } else {
        beside.persist_noclobber(file)?;
    }
    Ok(())
}

fn with(name: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = name.into();
    name.push(suffix);
    name.into()
}
