//! The attributes and derives of `ays-sdk`. Use them through that crate, whose guide describes them.

mod action;
mod actor;
mod derive;
mod generated;
mod hrd_file;
mod quantity;

use proc_macro::TokenStream;

/// Makes an impl block an actor: its methods with `#[action]` are the actions.
#[proc_macro_attribute]
pub fn actor(args: TokenStream, item: TokenStream) -> TokenStream {
    actor::expand(args.into(), item.into()).into()
}

/// Makes a method of an `#[actor]` an action.
#[proc_macro_attribute]
pub fn action(_args: TokenStream, item: TokenStream) -> TokenStream {
    misplaced("action", item)
}

/// Runs an action of an `#[actor]` for an event.
#[proc_macro_attribute]
pub fn on(_args: TokenStream, item: TokenStream) -> TokenStream {
    misplaced("on", item)
}

/// Makes a function of an `#[actor]` its `migrate`: `fn migrate(from: u32, data: Value) -> Result<Value>`.
#[proc_macro_attribute]
pub fn migrate(_args: TokenStream, item: TokenStream) -> TokenStream {
    misplaced("migrate", item)
}

/// `#[actor]` takes these attributes off the methods that it reads; only others are ever expanded.
fn misplaced(name: &str, item: TokenStream) -> TokenStream {
    let message = format!(
        "`#[{name}]` stands outside an actor; it would be right on a method in an impl block with `#[actor]`"
    );
    let error = syn::Error::new(proc_macro2::Span::call_site(), message).to_compile_error();
    [TokenStream::from(error), item].into_iter().collect()
}

/// Makes a struct the data of an actor's services: its fields are the schema.
#[proc_macro_derive(Schema, attributes(schema))]
pub fn derive_schema(item: TokenStream) -> TokenStream {
    derive::expand(item.into()).into()
}
