//! `#[actor]`: from an impl block to an actor.

use std::collections::{BTreeMap, BTreeSet};

use ays_core::{
    ActorName,
    capability::Capabilities,
    hrd::{parse_actor, parse_schema},
    manifest::{INTERFACE, Instancing, WantedLimits},
};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use serde_json::json;
use syn::{
    Attribute, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitInt, LitStr, Type, meta::ParseNestedMeta,
    parse::Parser,
};

use crate::{
    action::{Action, read_limit},
    generated,
    hrd_file::HrdFile,
    quantity,
};

/// What `#[actor(…)]` says.
#[derive(Default)]
struct Options {
    name: Option<ActorName>,
    schema: Option<LitStr>,
    config: Option<LitStr>,
    capabilities: Capabilities,
    schema_version: Option<LitInt>,
    instance: Instancing,
    limits: WantedLimits,
}

const OPTIONS: &str = "name, schema, schema_version, config, capabilities, instance, memory, cpu, wall, log_bytes, data_bytes, events, kv_bytes and filters";

impl Options {
    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let Some(option) = meta.path.get_ident().map(Ident::to_string) else {
            return Err(meta.error(format!("not an option of an actor; they are {OPTIONS}")));
        };
        match option.as_str() {
            "name" => self.name = Some(quantity::parsed(meta)?),
            "schema" => self.schema = Some(quantity::text(meta)?),
            "schema_version" => {
                let version: LitInt = meta.value()?.parse()?;
                version.base10_parse::<u32>()?;
                self.schema_version = Some(version);
            }
            "config" => self.config = Some(quantity::text(meta)?),
            "capabilities" => {
                for capability in quantity::texts(meta)? {
                    let read = self.capabilities.read(&capability.value());
                    read.map_err(|wrong| syn::Error::new(capability.span(), wrong))?;
                }
            }
            "instance" => {
                let words = [("resident", Instancing::Resident), ("fresh", Instancing::Fresh)];
                self.instance = quantity::word(meta, &words)?;
            }
            _ if read_limit(&option, meta, &mut self.limits)? => {}
            _ => {
                return Err(
                    meta.error(format!("`{option}` is not an option of an actor; they are {OPTIONS}"))
                );
            }
        }
        Ok(())
    }
}

/// Errors found so far: all are reported at once.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }
}

pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let original = item.clone();
    match syn::parse2::<ItemImpl>(item) {
        Ok(item) => expand_impl(args, item),
        Err(_) => {
            let message = "`#[actor]` stands on something else than an impl block; it would be right on `impl Producer \
                           { … }`, whose methods with `#[action]` are the actions";
            let error = syn::Error::new(Span::call_site(), message).to_compile_error();
            quote! { #error #original }
        }
    }
}

fn expand_impl(args: TokenStream, mut item: ItemImpl) -> TokenStream {
    let mut errors = Errors::default();
    let mut options = Options::default();
    errors.keep(syn::meta::parser(|meta| options.option(&meta)).parse2(args));
    let name = errors.keep(check_target(&item));

    let mut actions = Vec::new();
    let mut migrate = None;
    for method in &mut item.items {
        if let ImplItem::Fn(method) = method
            && let Some(found) = errors.keep(take_migrate(method)).flatten()
            && migrate.replace(found).is_some()
        {
            errors.push(syn::Error::new_spanned(
                &method.sig.ident,
                "a second `#[migrate]`; one would be right",
            ));
        }
        if let ImplItem::Fn(method) = method
            && let Some(Some(action)) = errors.keep(Action::take(method))
        {
            actions.push(action);
        }
    }
    check_names(&actions, &mut errors);

    let config = options.config.take().and_then(|file| errors.keep(HrdFile::read(file)));
    if let Some(file) = &config {
        let whole = errors.0.is_none();
        apply_config(file, &mut actions, whole, &mut errors);
    }
    let schema = options.schema.take().and_then(|file| errors.keep(HrdFile::read(file)));
    let data = match (&schema, &name) {
        (Some(file), Some(name)) => {
            let schema = errors.keep(file.parse(parse_schema));
            schema.and_then(|schema| errors.keep(generated::data(name, &schema, file)))
        }
        _ => None,
    };
    let actor_name = options.name.clone().or_else(|| errors.keep(crate_name()));

    let (Some(name), Some(actor_name), Errors(None)) = (name, actor_name, &errors) else {
        let errors = errors.0.map(|errors| errors.to_compile_error());
        // The struct and the impl stay, so that the compiler does not complain of what is missing only because of us.
        return quote! { #data #item #errors };
    };
    let dependencies: Vec<_> = [&config, &schema].into_iter().flatten().map(HrdFile::dependency).collect();
    let actor = implementation(&name, &manifest_head(&actor_name, &options), &actions);
    let migrate = migrate.map(|migrate| migration(&name, &migrate));
    quote! {
        #data
        #item
        #(#dependencies)*
        #actor
        #migrate
    }
}

/// The function that is the actor's `migrate`.
struct Migrate {
    function: Ident,
    /// The conditions under which it is compiled.
    cfgs: Vec<Attribute>,
}

/// The function, if the method is the actor's `migrate`; the attribute is taken off it.
fn take_migrate(method: &mut ImplItemFn) -> syn::Result<Option<Migrate>> {
    let before = method.attrs.len();
    method.attrs.retain(|attr| attr.path().segments.last().is_none_or(|last| last.ident != "migrate"));
    if method.attrs.len() == before {
        return Ok(None);
    }
    let takes_two =
        method.sig.inputs.len() == 2 && method.sig.inputs.iter().all(|arg| matches!(arg, FnArg::Typed(_)));
    if !takes_two {
        let message = "`migrate` has no service of its own; `fn migrate(from: u32, data: Value) -> Result<Value>` would be \
                       right";
        return Err(syn::Error::new_spanned(&method.sig, message));
    }
    let cfgs = method.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect();
    Ok(Some(Migrate { function: method.sig.ident.clone(), cfgs }))
}

/// The export `migrate`.
fn migration(name: &Ident, migrate: &Migrate) -> TokenStream {
    let Migrate { function, cfgs } = migrate;
    quote! {
        #(#cfgs)*
        const _: () = {
            #[cfg(target_family = "wasm")]
            struct Migrator;

            #[cfg(target_family = "wasm")]
            impl ::ays_sdk::migrator::Guest for Migrator {
                fn migrate(
                    version: u32,
                    data: ::std::string::String,
                ) -> ::core::result::Result<::std::string::String, ::std::string::String> {
                    ::ays_sdk::rt::migrated(version, &data, <#name>::#function)
                }
            }

            #[cfg(target_family = "wasm")]
            ::ays_sdk::migrator::export_migrate!(Migrator with_types_in ::ays_sdk::migrator);

            #[cfg(not(target_family = "wasm"))]
            const _: () = {
                #[allow(dead_code, reason = "for editors and lints: nothing calls it elsewhere")]
                fn migrated(
                    version: u32,
                    data: &str,
                ) -> ::core::result::Result<::std::string::String, ::std::string::String> {
                    ::ays_sdk::rt::migrated(version, data, <#name>::#function)
                }
            };
        };
    }
}

/// The name of the struct; an error if the impl block is none that can be an actor.
fn check_target(item: &ItemImpl) -> syn::Result<Ident> {
    const RIGHT: &str = "`#[actor] impl Producer { … }` would be right";
    if let Some((_, path, _)) = &item.trait_ {
        return Err(syn::Error::new_spanned(
            path,
            format!("an actor's actions are methods of its own, not of a trait; {RIGHT}"),
        ));
    }
    if !item.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(&item.generics, format!("an actor cannot be generic; {RIGHT}")));
    }
    match &*item.self_ty {
        Type::Path(path) if path.qself.is_none() => match path.path.get_ident() {
            Some(name) => Ok(name.clone()),
            None => {
                Err(syn::Error::new_spanned(path, format!("an actor is a struct of this module; {RIGHT}")))
            }
        },
        other => Err(syn::Error::new_spanned(other, format!("an actor is a struct; {RIGHT}"))),
    }
}

fn check_names(actions: &[Action], errors: &mut Errors) {
    let mut names = BTreeSet::new();
    // Two that are compiled under conditions may exclude each other.
    for action in actions.iter().filter(|action| action.cfgs.is_empty()) {
        if !names.insert(&action.spec.name) {
            let message = format!("a second action `{}`; each name once would be right", action.spec.name);
            errors.push(syn::Error::new(action.span, message));
        }
    }
}

/// Puts what `actor.hrd` says into the actions. With an action that could not be read (`whole` is false), names that
/// are missing say nothing.
fn apply_config(file: &HrdFile, actions: &mut [Action], whole: bool, errors: &mut Errors) {
    let Some(config) = errors.keep(file.parse(parse_actor)) else {
        return;
    };
    let names: Vec<String> = actions.iter().map(|action| action.spec.name.clone()).collect();
    let mut by_name: BTreeMap<String, Vec<&mut Action>> = BTreeMap::new();
    for action in actions {
        by_name.entry(action.spec.name.clone()).or_default().push(action);
    }
    for (name, recurring) in config.recurring {
        match by_name.get_mut(&name) {
            Some(actions) => {
                for action in actions {
                    if action.spec.recurring.replace(recurring.clone()).is_some() {
                        let message = format!(
                            "`{name}` recurs by this attribute and by {}; one of them would be right",
                            file.name()
                        );
                        errors.push(syn::Error::new(action.span, message));
                    }
                }
            }
            None if whole => {
                let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                errors.push(file.error(format!(
                    "{}: recurring.{name}: the actor has no action `{name}`; it has {there}",
                    file.name()
                )));
            }
            None => {}
        }
    }
}

/// The crate's name, which is the actor's unless it says another.
fn crate_name() -> syn::Result<ActorName> {
    let name = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    name.parse().map_err(|error| {
        let message = format!(
            "the crate's name cannot be the actor's: {error}; `#[actor(name = \"…\")]` would be right"
        );
        syn::Error::new(Span::call_site(), message)
    })
}

/// The manifest up to its actions, without the closing brace.
fn manifest_head(name: &ActorName, options: &Options) -> String {
    let mut head = json!({
        "interface": INTERFACE,
        "sdk": concat!("ays-sdk ", env!("CARGO_PKG_VERSION")),
        "name": name,
        "instance": options.instance,
    });
    if let Some(head) = head.as_object_mut() {
        if !options.capabilities.is_empty() {
            head.insert("capabilities".into(), json!(options.capabilities));
        }
        if let Some(version) = &options.schema_version {
            head.insert("schema_version".into(), json!(version.base10_parse::<u32>().unwrap_or_default()));
        }
        if options.limits != WantedLimits::default() {
            head.insert("limits".into(), json!(options.limits));
        }
    }
    let mut text = head.to_string();
    text.pop();
    text
}

fn implementation(name: &Ident, head: &str, actions: &[Action]) -> TokenStream {
    let arms = actions.iter().map(Action::arm);
    let names = actions.iter().map(|action| {
        let (cfgs, name) = (&action.cfgs, &action.spec.name);
        quote! { #(#cfgs)* #name }
    });
    let specs = actions.iter().map(|action| {
        let (cfgs, spec) = (&action.cfgs, json!(action.spec).to_string());
        quote! { #(#cfgs)* #spec }
    });
    let filters = actions.iter().flat_map(|action| {
        action.filters.iter().map(|filter| {
            let (cfgs, filter) = (&action.cfgs, json!(filter).to_string());
            quote! { #(#cfgs)* #filter }
        })
    });
    let schema = quote::quote_spanned! { name.span() => <#name as ::ays_sdk::Schema>::SCHEMA };
    quote! {
        const _: () = {
            const HEAD: &str = #head;
            const ACTIONS: &[&str] = &[#(#specs),*];
            const NAMES: &[&str] = &[#(#names),*];
            const FILTERS: &[&str] = &[#(#filters),*];

            impl ::ays_sdk::Actor for #name {
                fn describe() -> ::std::string::String {
                    ::ays_sdk::rt::manifest(HEAD, #schema, ACTIONS, FILTERS)
                }

                #[allow(unused_variables, reason = "an action may take no job, an actor have no action")]
                fn run(__ays_action: &str, __ays_job: &::ays_sdk::Job) -> ::ays_sdk::Result<::std::string::String> {
                    #[allow(unused_imports, reason = "needed for actions that return something else than a Result")]
                    use ::ays_sdk::rt::Plain as _;
                    match __ays_action {
                        #(#arms)*
                        _ => ::core::result::Result::Err(::ays_sdk::rt::unknown_action(__ays_action, NAMES)),
                    }
                }
            }

            // Elsewhere nothing calls the actor; without this the compiler would say so of every action.
            #[cfg(not(target_family = "wasm"))]
            const _: fn(&str, &::ays_sdk::Job) -> ::ays_sdk::Result<::std::string::String> =
                <#name as ::ays_sdk::Actor>::run;

            #[cfg(target_family = "wasm")]
            type Component = ::ays_sdk::rt::Component<#name>;
            #[cfg(target_family = "wasm")]
            ::ays_sdk::bindings::export!(Component with_types_in ::ays_sdk::bindings);
        };

        // A component has one set of exports, so a crate has one actor. A second one defines this name again, which the
        // compiler refuses with this name in its message.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! a_crate_can_have_only_one_actor {
            () => {};
        }
    }
}
