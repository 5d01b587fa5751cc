//! `ays-host pull`.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use ays_core::ActorName;
use ays_package::section;
use ays_registry::{Pulled, Reference, pull};
use serde::Deserialize;

use super::{print, registry, trust};
use crate::package::PackageFile;

/// What `pull` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// From where: REGISTRY/REPOSITORY:TAG, or REGISTRY/REPOSITORY@sha256:… for one that cannot become another
    #[arg(value_name = "REF")]
    from: Reference,
    /// Where the component goes, as ACTOR.wasm, and its signature beside it
    #[arg(long, value_name = "DIR", env = "AYS_ACTORS", default_value = "actors")]
    out: PathBuf,
    #[command(flatten)]
    trust: trust::TrustArgs,
    #[command(flatten)]
    registry: registry::RegistryArgs,
}

/// Of a manifest, what a file is named by.
#[derive(Deserialize)]
struct Named {
    name: ActorName,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let access = args.registry.access()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pulled = runtime.block_on(pull(&args.from, &access))?;
    let Pulled { package, manifest, component } = pulled;
    let whole = args.from.to_string();
    // All that can be said against it is said before anything lies where a host would load it.
    let signer = match args.trust.keys() {
        Some(trust) => {
            let signer = trust.check(&package.component, package.signature.as_deref());
            Some(signer.with_context(|| format!("{whole}: nothing was written"))?)
        }
        None => None,
    };
    let name = match section::read(&package.component).with_context(|| whole.clone())? {
        Some(manifest) => {
            let named: Named = serde_json::from_str(manifest)
                .with_context(|| format!("{whole}: the manifest in it cannot be read"))?;
            named.name
        }
        None => args.from.name().parse().with_context(|| format!("{whole} has no manifest inside"))?,
    };
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let file = args.out.join(format!("{name}.wasm"));
    let was_there = fs::read(&file).is_ok_and(|old| old != package.component);
    let is_signed = package.signature.is_some();
    PackageFile { component: package.component, signature: package.signature }.write(&file)?;
    let signed = match (signer, is_signed) {
        (Some(signer), _) => format!("signed by {}", signer.key),
        (None, true) => "signed, which nobody checked (`--trust KEY` does)".into(),
        (None, false) => "not signed".into(),
    };
    let replaced = if was_there { ", in the place of another version" } else { "" };
    eprintln!("pulled {name}{replaced}: {signed}, manifest {manifest}");
    print(&format!("{} {component}\n", file.display()))
}
