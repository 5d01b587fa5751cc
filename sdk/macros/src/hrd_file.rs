//! Finding and reading `schema.hrd` and `actor.hrd` at compile time.

use std::path::{Path, PathBuf};

use ays_core::problem::Problem;
use proc_macro2::TokenStream;
use quote::quote;
use syn::LitStr;

/// A file that an attribute names.
pub(crate) struct HrdFile {
    /// As the attribute has it: messages call it so.
    name: LitStr,
    path: PathBuf,
    text: String,
}

impl HrdFile {
    /// Reads the file: in the crate's directory, or else beside the source file with the attribute.
    pub(crate) fn read(name: LitStr) -> syn::Result<Self> {
        let crate_dir = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let source_dir =
            name.span().unwrap().local_file().and_then(|file| file.parent().map(Path::to_path_buf));
        let wanted = name.value();
        let found =
            crate_dir.into_iter().chain(source_dir).map(|dir| dir.join(&wanted)).find(|path| path.is_file());
        let Some(path) = found else {
            let message = format!(
                "there is no file `{wanted}`; a path from the directory of Cargo.toml, or from that of this source \
                 file, would be right"
            );
            return Err(syn::Error::new(name.span(), message));
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { name, path, text }),
            Err(error) => Err(syn::Error::new(name.span(), format!("{wanted}: {error}"))),
        }
    }

    /// What a parser of the model makes of the file. Each of its problems is an error of its own, at the attribute.
    pub(crate) fn parse<T>(&self, parser: fn(&str, &str) -> Result<T, Vec<Problem>>) -> syn::Result<T> {
        parser(&self.name.value(), &self.text).map_err(|problems| {
            let errors = problems.iter().map(|problem| self.error(problem));
            errors
                .reduce(|mut all, error| {
                    all.combine(error);
                    all
                })
                .unwrap_or_else(|| self.error("cannot be read"))
        })
    }

    /// An error at the attribute that names the file.
    pub(crate) fn error(&self, message: impl std::fmt::Display) -> syn::Error {
        syn::Error::new(self.name.span(), message)
    }

    /// The file's name, as the attribute has it.
    pub(crate) fn name(&self) -> String {
        self.name.value()
    }

    /// Code that makes cargo build the crate again when the file has changed.
    pub(crate) fn dependency(&self) -> TokenStream {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let path = path.to_string_lossy();
        quote! { const _: &[u8] = ::core::include_bytes!(#path); }
    }
}
