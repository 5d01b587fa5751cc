//! One action: a method of the actor with `#[action]`, and what its attributes say.

use ays_core::{
    EventName,
    event::Channel,
    filter::EventFilter,
    manifest::{ActionSpec, Order, WantedLimits},
    retry::RetryPolicy,
    schedule::{Missed, Period, Recurring},
};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Ident, ImplItemFn, Lit, Meta, Pat, ReturnType, Type, ext::IdentExt,
    meta::ParseNestedMeta, spanned::Spanned,
};

use crate::quantity;

/// An action that was read from a method.
pub(crate) struct Action {
    /// What it puts into the manifest.
    pub(crate) spec: ActionSpec,
    /// Where its name is written.
    pub(crate) span: Span,
    /// The event filters that every service of the actor gets for it.
    pub(crate) filters: Vec<EventFilter>,
    /// The conditions under which it is compiled.
    pub(crate) cfgs: Vec<Attribute>,
    method: Ident,
    writes: bool,
    takes_job: bool,
    params: Vec<Param>,
    output: Span,
}

/// A parameter after `self` and the job: one of the job's args.
struct Param {
    name: Ident,
    ty: Type,
}

impl Action {
    /// Reads a method, and takes the attributes off it that belong to the actor. None if it is no action.
    pub(crate) fn take(method: &mut ImplItemFn) -> syn::Result<Option<Self>> {
        let mut own = None;
        let mut ons = Vec::new();
        let mut errors: Option<syn::Error> = None;
        let mut report = |error: syn::Error| match &mut errors {
            Some(all) => all.combine(error),
            None => errors = Some(error),
        };
        method.attrs.retain(|attr| match attr.path().segments.last() {
            Some(last) if last.ident == "action" => {
                if own.replace(attr.clone()).is_some() {
                    report(syn::Error::new_spanned(
                        attr,
                        "a second `#[action]`; one with all options would be right",
                    ));
                }
                false
            }
            Some(last) if last.ident == "on" => {
                ons.push(attr.clone());
                false
            }
            _ => true,
        });
        let Some(own) = own else {
            for on in ons {
                let message = format!(
                    "`{}` is not an action, so no event can run it; `#[action]` before `#[on(…)]` would be right",
                    method.sig.ident
                );
                report(syn::Error::new_spanned(on, message));
            }
            return errors.map_or(Ok(None), Err);
        };

        let mut read = Options::default();
        if let Meta::Path(_) = own.meta {
        } else if let Err(error) = own.parse_nested_meta(|meta| read.option(&meta)) {
            report(error);
        }
        let (spec, span) = match read.into_spec(method) {
            Ok(read) => read,
            Err(error) => {
                report(error);
                (ActionSpec::named(method.sig.ident.to_string()), method.sig.ident.span())
            }
        };
        let mut filters: Vec<EventFilter> = Vec::new();
        for on in &ons {
            match read_filter(on, &spec.name) {
                Ok(filter) if filters.iter().any(|other| other.same(&filter)) => {
                    report(syn::Error::new_spanned(
                        on,
                        "the same filter is there twice; once would be right",
                    ));
                }
                Ok(filter) => filters.push(filter),
                Err(error) => report(error),
            }
        }
        let signature = read_signature(method).map_err(&mut report).ok();
        match (errors, signature) {
            (None, Some((writes, takes_job, params))) => Ok(Some(Self {
                spec,
                span,
                filters,
                cfgs: method.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect(),
                method: method.sig.ident.clone(),
                writes,
                takes_job,
                params,
                output: match &method.sig.output {
                    ReturnType::Default => method.sig.ident.span(),
                    ReturnType::Type(_, ty) => ty.span(),
                },
            })),
            (Some(errors), _) => Err(errors),
            (None, None) => Err(syn::Error::new_spanned(&method.sig, "not a method that can be an action")),
        }
    }

    /// The arm of the dispatch that runs it.
    pub(crate) fn arm(&self) -> TokenStream {
        let Self { cfgs, method, .. } = self;
        let name = &self.spec.name;
        let with = if self.writes { format_ident!("writing") } else { format_ident!("reading") };
        let job = self.takes_job.then(|| quote! { __ays_job, });
        let params: Vec<_> = self.params.iter().map(|param| &param.name).collect();
        let args = (!params.is_empty()).then(|| self.args());
        let text = quote_spanned! { self.output => ::ays_sdk::rt::Returned(returned).text() };
        quote! {
            #(#cfgs)*
            #name => {
                #args
                ::ays_sdk::rt::#with(|__ays_this| {
                    let returned = Self::#method(__ays_this, #job #(#params),*);
                    #text
                })
            }
        }
    }

    /// Reads the job's args: by position from a list, by name from an object.
    fn args(&self) -> TokenStream {
        let shown: Vec<String> = self
            .params
            .iter()
            .map(|Param { name, ty }| format!("{name}: {}", quote! { #ty }.to_string().replace(' ', "")))
            .collect();
        let signature = format!("`{}({})`", self.spec.name, shown.join(", "));
        // An arg that the action does not use, and whose name therefore begins with `_`, is still found by its name.
        let names =
            self.params.iter().map(|param| param.name.unraw().to_string().trim_start_matches('_').to_owned());
        let reads = self.params.iter().enumerate().map(|(nth, Param { name, ty })| {
            let optional = is_option(ty);
            let read = quote_spanned! { ty.span() => ::ays_sdk::rt::Args::take::<#ty> };
            quote! { let #name = #read(&__ays_args, #nth, #optional)?; }
        });
        quote! {
            let __ays_args = ::ays_sdk::rt::Args::read(__ays_job, #signature, &[#(#names),*])?;
            #(#reads)*
        }
    }
}

/// Whether the type is written as an `Option`.
pub(crate) fn is_option(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

/// What `#[action(…)]` says.
#[derive(Default)]
struct Options {
    name: Option<syn::LitStr>,
    description: Option<String>,
    period: Option<Period>,
    missed: Option<Missed>,
    log: Option<bool>,
    /// Where an option stands that means something only with `recurring`.
    needs_period: Option<(Span, &'static str)>,
    retry: Option<RetryPolicy>,
    order: Order,
    limits: WantedLimits,
}

const OPTIONS: &str = "name, description, recurring, missed, log, retry, order, memory, cpu, wall, log_bytes, \
                       data_bytes, events, kv_bytes and filters";

impl Options {
    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let Some(option) = meta.path.get_ident().map(Ident::to_string) else {
            return Err(meta.error(format!("not an option of an action; they are {OPTIONS}")));
        };
        match option.as_str() {
            "name" => self.name = Some(quantity::text(meta)?),
            "description" => self.description = Some(quantity::text(meta)?.value()),
            "recurring" => self.period = Some(quantity::parsed(meta)?),
            "missed" => {
                let words = [("skip", Missed::Skip), ("one", Missed::One), ("all", Missed::All)];
                self.missed = Some(quantity::word(meta, &words)?);
                self.needs_period = Some((meta.path.span(), "missed"));
            }
            "log" => {
                self.log = Some(quantity::boolean(meta)?);
                self.needs_period = Some((meta.path.span(), "log"));
            }
            "retry" => self.retry = Some(read_retry(meta)?),
            "order" => {
                self.order = quantity::word(meta, &[("aside", Order::Aside), ("strict", Order::Strict)])?
            }
            _ if read_limit(&option, meta, &mut self.limits)? => {}
            _ => {
                return Err(
                    meta.error(format!("`{option}` is not an option of an action; they are {OPTIONS}"))
                );
            }
        }
        Ok(())
    }

    fn into_spec(self, method: &ImplItemFn) -> syn::Result<(ActionSpec, Span)> {
        if let (None, Some((span, option))) = (&self.period, self.needs_period) {
            let message = format!(
                "`{option}` means nothing without a period; `recurring = \"5s\"` beside it would be right"
            );
            return Err(syn::Error::new(span, message));
        }
        let (name, span) = match &self.name {
            Some(name) => (name.value(), name.span()),
            // A raw identifier, as `r#move`, without its prefix.
            None => (method.sig.ident.unraw().to_string(), method.sig.ident.span()),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) {
            let message =
                format!("`{name}` is no name of an action; letters, digits, `_`, `-` and `.` would be right");
            return Err(syn::Error::new(span, message));
        }
        let spec = ActionSpec {
            description: self.description.unwrap_or_else(|| doc_comment(&method.attrs)),
            recurring: self.period.map(|period| Recurring {
                missed: self.missed.unwrap_or_default(),
                log: self.log.unwrap_or(true),
                ..Recurring::every(period)
            }),
            retry: self.retry,
            order: self.order,
            limits: self.limits,
            ..ActionSpec::named(name)
        };
        Ok((spec, span))
    }
}

/// Reads a limit that actor and action have in common; false if `option` is none.
pub(crate) fn read_limit(
    option: &str,
    meta: &ParseNestedMeta<'_>,
    limits: &mut WantedLimits,
) -> syn::Result<bool> {
    match option {
        "memory" => limits.memory_bytes = Some(quantity::bytes(meta)?),
        "cpu" => limits.cpu_ms = Some(quantity::duration_ms(meta)?),
        "wall" => limits.wall_ms = Some(quantity::duration_ms(meta)?),
        "log_bytes" => limits.log_bytes = Some(quantity::bytes(meta)?),
        "data_bytes" => limits.data_bytes = Some(quantity::bytes(meta)?),
        "log_lines" => limits.log_lines = Some(quantity::count::<u64>(meta)?),
        "events" => limits.events = Some(quantity::count::<u64>(meta)?),
        "events_per_s" => limits.events_per_s = Some(quantity::count::<u64>(meta)?),
        "changes" => limits.changes = Some(quantity::count::<u64>(meta)?),
        "turn_bytes" => limits.turn_bytes = Some(quantity::bytes(meta)?),
        "hostcall_bytes" => limits.hostcall_bytes = Some(quantity::bytes(meta)?),
        "random_bytes" => limits.random_bytes = Some(quantity::bytes(meta)?),
        "handles" => limits.handles = Some(quantity::count::<u64>(meta)?),
        "table_elements" => limits.table_elements = Some(quantity::count::<u64>(meta)?),
        "kv_bytes" => limits.kv_bytes = Some(quantity::bytes(meta)?),
        "filters" => limits.filters = Some(quantity::count::<u64>(meta)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn read_retry(meta: &ParseNestedMeta<'_>) -> syn::Result<RetryPolicy> {
    const WANTED: &str = "`retry(attempts = 3, delays = [10, 30])` or `retry(attempts = 5, first = \"1s\", most = \"1m\")` \
                          would be right";
    if !meta.input.peek(syn::token::Paren) {
        return Err(meta.error(WANTED));
    }
    let mut policy = RetryPolicy::default();
    let mut attempts = None;
    let mut exponential = None;
    meta.parse_nested_meta(|meta| {
        match meta.path.get_ident().map(Ident::to_string).as_deref() {
            Some("attempts") => attempts = Some(quantity::count::<u32>(&meta)?),
            Some("delays") => policy.delays_s = quantity::durations_s(&meta)?,
            Some("first") => {
                policy.first_ms = quantity::duration_ms(&meta)?;
                exponential = Some(meta.path.span());
            }
            Some("most") => {
                policy.most_ms = quantity::duration_ms(&meta)?;
                exponential = Some(meta.path.span());
            }
            _ => {
                return Err(meta.error(format!(
                    "not an option of `retry`, which are attempts, delays, first and most; {WANTED}"
                )));
            }
        }
        Ok(())
    })?;
    if let (Some(span), false) = (exponential, policy.delays_s.is_empty()) {
        return Err(syn::Error::new(
            span,
            format!("`first` and `most` mean nothing beside `delays`; {WANTED}"),
        ));
    }
    // A list of delays without a number of attempts means one retry for each.
    let listed = (!policy.delays_s.is_empty())
        .then(|| u32::try_from(policy.delays_s.len()).unwrap_or(u32::MAX - 1) + 1);
    policy.attempts = attempts.or(listed).unwrap_or(policy.attempts);
    Ok(policy)
}

fn read_filter(on: &Attribute, action: &str) -> syn::Result<EventFilter> {
    const WANTED: &str = "`#[on(event = \"new_msg_sent\")]` would be right";
    let mut event = None;
    let mut channel = Channel::default();
    let mut tags = Vec::new();
    if !matches!(on.meta, Meta::List(_)) {
        return Err(syn::Error::new_spanned(on, format!("which event is not said; {WANTED}")));
    }
    on.parse_nested_meta(|meta| {
        match meta.path.get_ident().map(Ident::to_string).as_deref() {
            Some("event") => event = Some(quantity::parsed::<EventName>(&meta)?),
            Some("channel") => channel = Channel(quantity::text(&meta)?.value()),
            Some("tags") => tags = quantity::texts(&meta)?,
            _ => return Err(meta.error("not an option of `on`, which are event, channel and tags")),
        }
        Ok(())
    })?;
    let Some(event) = event else {
        return Err(syn::Error::new_spanned(on, format!("which event is not said; {WANTED}")));
    };
    let tags = tags.iter().map(syn::LitStr::value).collect();
    Ok(EventFilter { channel, tags, ..EventFilter::new(event, action) })
}

/// Whether the method writes data, whether it takes the job, and its further parameters.
fn read_signature(method: &ImplItemFn) -> syn::Result<(bool, bool, Vec<Param>)> {
    let sig = &method.sig;
    let right = format!("`fn {}(&self, job: &Job) -> Result<()>` would be right", sig.ident);
    let wrong =
        |at: &dyn quote::ToTokens, what: &str| Err(syn::Error::new_spanned(at, format!("{what}; {right}")));
    if let Some(token) = &sig.asyncness {
        return wrong(token, "an action cannot be async: the host runs one job at a time in an instance");
    }
    if let Some(token) = &sig.unsafety {
        return wrong(token, "an action cannot be unsafe: the host calls it");
    }
    if let Some(token) = &sig.abi {
        return wrong(token, "an action has no ABI of its own");
    }
    if !sig.generics.params.is_empty() {
        return wrong(&sig.generics, "an action cannot be generic: the host knows no types");
    }
    if let Some(token) = &sig.variadic {
        return wrong(token, "an action takes a fixed number of args");
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && let Type::ImplTrait(_) | Type::Reference(_) = **ty
    {
        return wrong(ty, "an action returns a value of a named type, which becomes the job's result");
    }
    let mut inputs = sig.inputs.iter();
    let writes = match inputs.next() {
        Some(FnArg::Receiver(receiver)) if receiver.colon_token.is_some() || receiver.reference.is_none() => {
            return wrong(
                receiver,
                "an action borrows the service's data: `&self` to read, `&mut self` to change them",
            );
        }
        Some(FnArg::Receiver(receiver)) => receiver.mutability.is_some(),
        _ => {
            let what = "an action is a method: `&self` reads the service's data, `&mut self` changes them";
            return wrong(&sig.ident, what);
        }
    };
    let mut takes_job = false;
    let mut params = Vec::new();
    for (nth, input) in inputs.enumerate() {
        let FnArg::Typed(input) = input else {
            return wrong(input, "a second `self`");
        };
        if names_job(&input.ty) {
            let Type::Reference(_) = &*input.ty else {
                return wrong(&input.ty, "an action borrows the job: `job: &Job`");
            };
            if nth > 0 {
                return wrong(input, "the job comes directly after `self`");
            }
            takes_job = true;
            continue;
        }
        if let Type::Reference(_) | Type::ImplTrait(_) = &*input.ty {
            let what =
                "an arg is read from JSON, so it has a type that owns its value, as `String` or `Vec<u8>`";
            return wrong(&input.ty, what);
        }
        let Pat::Ident(name) = &*input.pat else {
            return wrong(&input.pat, "an arg has a name, by which it is found in a JSON object");
        };
        params.push(Param { name: name.ident.clone(), ty: (*input.ty).clone() });
    }
    Ok((writes, takes_job, params))
}

/// Whether the type is written as `Job` or a reference to it.
fn names_job(ty: &Type) -> bool {
    match ty {
        Type::Reference(reference) => names_job(&reference.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Job"),
        _ => false,
    }
}

/// The text of doc comments: the first paragraph on one line.
pub(crate) fn doc_comment(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter(|attr| attr.path().is_ident("doc")).filter_map(|attr| match &attr.meta {
        Meta::NameValue(doc) => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.skip_while(String::is_empty).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
