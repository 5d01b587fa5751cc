//! `ays-host push`.

use std::path::PathBuf;

use anyhow::Context as _;
use ays_package::section;
use ays_registry::{Package, Reference, push};

use super::{print, registry};
use crate::package::{PackageFile, signature_file};

/// What `push` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to: REGISTRY/REPOSITORY:TAG, as registry.example.org/actors/node:1.0
    #[arg(value_name = "REF")]
    to: Reference,
    /// The component; its signature, FILE.minisig, goes along if it is there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    registry: registry::RegistryArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let name = args.file.display().to_string();
    let PackageFile { component, signature } = PackageFile::read(&args.file).with_context(|| name.clone())?;
    if section::read(&component).with_context(|| name.clone())?.is_none() {
        eprintln!("{name} has no manifest inside; `ays-host build` writes it there");
    }
    if signature.is_none() {
        eprintln!("{name} is not signed: there is no {}", signature_file(&args.file).display());
    }
    let access = args.registry.access()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pushed = runtime.block_on(push(&args.to, Package { component, signature }, &access))?;
    eprintln!("pushed {} ({})", args.to, pushed.component);
    print(&format!("{}@{}\n", args.to, pushed.manifest))
}
