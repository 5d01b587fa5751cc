//! `ays-host verify`.

use std::path::{Path, PathBuf};

use ays_package::{Trust, digest};
use clap::{CommandFactory as _, error::ErrorKind};

use super::{AlreadyTold, print, trust};
use crate::{log, package::PackageFile};

/// What `verify` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The components; the signature of each lies beside it, as FILE.wasm.minisig
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    trust: trust::TrustArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(trust) = args.trust.keys() else {
        let what = "whose signature should count? `--trust KEY`, or AYS_TRUST, says so";
        let mut command = super::Args::command();
        command.build();
        let verify = command.find_subcommand("verify").cloned();
        verify.unwrap_or(command).error(ErrorKind::MissingRequiredArgument, what).exit();
    };
    let mut refused = false;
    for file in &args.files {
        match verify(file, &trust) {
            Ok(line) => print(&line)?,
            Err(why) => {
                eprintln!("{}: {why:#}", file.display());
                refused = true;
            }
        }
    }
    if refused { Err(AlreadyTold.into()) } else { Ok(()) }
}

fn verify(file: &Path, trust: &Trust) -> anyhow::Result<String> {
    let package = PackageFile::read(file)?;
    let signer = trust.check(&package.component, package.signature.as_deref())?;
    let digest = digest(&package.component);
    let comment = log::plain(&signer.comment);
    Ok(format!("{} {digest} signed by {}: {comment}\n", file.display(), signer.key))
}
