//! `#[derive(Schema)]`: from a struct's fields to the schema.

use ays_core::schema::{Consume, Field, FieldType, Pattern, Schema};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use serde_json::{Number, Value};
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprLit, Fields, Ident, Lit, LitStr, Type, ext::IdentExt,
    meta::ParseNestedMeta, spanned::Spanned,
};

use crate::{
    action::{doc_comment, is_option},
    generated, quantity,
};

pub(crate) fn expand(item: TokenStream) -> TokenStream {
    match syn::parse2(item).and_then(|input| expand_struct(&input)) {
        Ok(code) => code,
        Err(error) => error.to_compile_error(),
    }
}

fn expand_struct(input: &DeriveInput) -> syn::Result<TokenStream> {
    let name = &input.ident;
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        _ => {
            return Err(syn::Error::new(
                name.span(),
                "a schema is a struct with named fields, or without any",
            ));
        }
    };
    if !input.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &input.generics,
            "a schema cannot be generic: the host knows no types",
        ));
    }
    let mut schema = links(&input.attrs)?;
    match fields {
        Fields::Unit => {}
        Fields::Unnamed(fields) => {
            let message = "a field of a schema has a name; `struct Producer { msg: String }` would be right";
            return Err(syn::Error::new_spanned(fields, message));
        }
        Fields::Named(fields) => {
            check_container(&input.attrs)?;
            for field in &fields.named {
                if let Some(field) = read_field(field)? {
                    schema.push(field);
                }
            }
        }
    }
    let schema = Schema::new(schema).map_err(|mismatches| {
        let lines: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
        // The mismatch of a single field is shown there.
        let place = match (mismatches.as_slice(), fields) {
            ([one], Fields::Named(fields)) => fields
                .named
                .iter()
                .filter_map(|field| field.ident.as_ref())
                .find(|ident| ident.unraw() == one.field)
                .map_or(name.span(), Ident::span),
            _ => name.span(),
        };
        syn::Error::new(place, lines.join("\n"))
    })?;
    let json = generated::schema_json(&schema);
    if matches!(fields, Fields::Unit) {
        return Ok(quote! {
            impl ::ays_sdk::Schema for #name {
                const SCHEMA: &'static str = #json;

                fn load() -> ::ays_sdk::Result<Self> {
                    ::core::result::Result::Ok(Self)
                }

                fn text(&self) -> ::ays_sdk::Result<::std::string::String> {
                    ::core::result::Result::Ok(::std::string::String::new())
                }
            }
        });
    }
    Ok(generated::schema_impl(name, &json))
}

/// Refuses what serde would do to the data and the schema could not say.
fn check_container(attrs: &[Attribute]) -> syn::Result<()> {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        // Options with values of any form: only those that matter here are read.
        let text = quote! { #attr }.to_string();
        for option in ["rename_all", "tag", "transparent", "untagged"] {
            if text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == option) {
                let message = format!(
                    "`{option}` would give the data another form than the schema; `#[serde(rename = \"…\")]` on single \
                     fields would be right"
                );
                return Err(syn::Error::new_spanned(attr, message));
            }
        }
    }
    Ok(())
}

/// What serde's attributes of a field mean for the schema.
#[derive(Default)]
struct Serde {
    rename: Option<LitStr>,
    skip: bool,
}

fn read_serde(attrs: &[Attribute]) -> syn::Result<Serde> {
    let mut read = Serde::default();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") && meta.input.peek(syn::Token![=]) {
                read.rename = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("skip") {
                read.skip = true;
            } else if meta.path.is_ident("flatten") {
                return Err(meta.error("`flatten` would give the data another form than the schema"));
            } else if meta.input.peek(syn::Token![=]) {
                meta.value()?.parse::<Expr>()?;
            } else if meta.input.peek(syn::token::Paren) {
                let inside;
                syn::parenthesized!(inside in meta.input);
                inside.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(read)
}

const OPTIONS: &str =
    "default, type, descr, regex, minval, maxval, singlechoice, multichoice, alias, optional, ask and id";

fn read_field(field: &syn::Field) -> syn::Result<Option<Field>> {
    let Some(ident) = &field.ident else {
        return Ok(None);
    };
    let serde = read_serde(&field.attrs)?;
    if serde.skip {
        return Ok(None);
    }
    let name = serde.rename.map_or_else(|| ident.unraw().to_string(), |name| name.value());
    let mut read = Field { descr: doc_comment(&field.attrs), ..Field::named(name) };
    let mut kind = None;
    for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("schema")) {
        attr.parse_nested_meta(|meta| option(&meta, &mut read, &mut kind))?;
    }
    let (own, list) = match own_type(&field.ty) {
        Ok((own, list)) => (Some(own), list),
        Err(_) if kind.is_some() => (None, false),
        Err(error) => return Err(error),
    };
    read.kind = kind.or(own).unwrap_or_default();
    read.list = list && read.multichoice.is_empty() && read.kind != FieldType::Set;
    Ok(Some(read))
}

fn option(meta: &ParseNestedMeta<'_>, field: &mut Field, kind: &mut Option<FieldType>) -> syn::Result<()> {
    let unknown = || meta.error(format!("not an option of a field; they are {OPTIONS}"));
    let Some(option) = meta.path.get_ident().map(|ident| ident.unraw().to_string()) else {
        return Err(unknown());
    };
    match option.as_str() {
        "default" => field.default = Some(json(&meta.value()?.parse()?)?),
        "type" => *kind = Some(quantity::parsed(meta)?),
        "descr" => field.descr = quantity::text(meta)?.value(),
        "regex" => {
            let text = quantity::text(meta)?;
            let pattern = Pattern::new(&text.value()).map_err(|error| syn::Error::new(text.span(), error))?;
            field.regex = Some(pattern);
        }
        "minval" => field.minval = Some(number(meta)?),
        "maxval" => field.maxval = Some(number(meta)?),
        "singlechoice" => field.singlechoice = quantity::texts(meta)?.iter().map(LitStr::value).collect(),
        "multichoice" => field.multichoice = quantity::texts(meta)?.iter().map(LitStr::value).collect(),
        "alias" => field.alias = quantity::texts(meta)?.iter().map(LitStr::value).collect(),
        "optional" => field.optional = true,
        "ask" => field.ask = true,
        "id" => field.id = true,
        _ => return Err(unknown()),
    }
    Ok(())
}

fn number(meta: &ParseNestedMeta<'_>) -> syn::Result<Number> {
    let expr: Expr = meta.value()?.parse()?;
    match json(&expr)? {
        Value::Number(number) => Ok(number),
        _ => Err(syn::Error::new_spanned(expr, "a number would be right")),
    }
}

/// The JSON of a literal, or of a list of them.
fn json(expr: &Expr) -> syn::Result<Value> {
    let wrong = || {
        syn::Error::new_spanned(
            expr,
            "a literal, as `\"text\"`, `5`, `1.5`, `true` or `[\"a\", \"b\"]`, would be right",
        )
    };
    Ok(match expr {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Value::from(text.value()),
        Expr::Lit(ExprLit { lit: Lit::Bool(value), .. }) => Value::from(value.value),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => Value::from(number.base10_parse::<u64>()?),
        Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => Value::from(number.base10_parse::<f64>()?),
        Expr::Unary(syn::ExprUnary { op: syn::UnOp::Neg(_), expr: inner, .. }) => match json(inner)? {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::from(-whole),
                (None, Some(number)) => Value::from(-number),
                (None, None) => return Err(wrong()),
            },
            _ => return Err(wrong()),
        },
        Expr::Array(list) => Value::Array(list.elems.iter().map(json).collect::<syn::Result<_>>()?),
        _ => return Err(wrong()),
    })
}

/// The field type that a Rust type stands for, and whether it is a list of it.
fn own_type(ty: &Type) -> syn::Result<(FieldType, bool)> {
    if is_option(ty) {
        let message = "data are never null: a field that was given nothing has its default, or the empty value of its \
                       type; the type without `Option` would be right";
        return Err(syn::Error::new_spanned(ty, message));
    }
    let unknown = || {
        let message = "which type of field this is cannot be told; `#[schema(type = \"dict\")]`, `\"set\"` or \
                       `\"json\"` would be right, or one of String, bool, integers, floats, Vec, maps and Value";
        syn::Error::new_spanned(ty, message)
    };
    let Type::Path(path) = ty else {
        return Err(unknown());
    };
    let last = path.path.segments.last().ok_or_else(unknown)?;
    Ok(match last.ident.to_string().as_str() {
        "String" => (FieldType::Str, false),
        "bool" => (FieldType::Bool, false),
        "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32" | "u64" | "usize" => {
            (FieldType::Int, false)
        }
        "f32" | "f64" => (FieldType::Float, false),
        "HashMap" | "BTreeMap" | "Map" => (FieldType::Dict, false),
        "HashSet" | "BTreeSet" => (FieldType::Set, false),
        "Value" => (FieldType::Json, false),
        "Vec" => {
            let inner = match &last.arguments {
                syn::PathArguments::AngleBracketed(args) => args.args.first(),
                _ => None,
            };
            match inner {
                Some(syn::GenericArgument::Type(inner)) => match own_type(inner)? {
                    (kind, false) => (kind, true),
                    // A list of lists.
                    (_, true) => (FieldType::Json, true),
                },
                _ => return Err(unknown()),
            }
        }
        _ => return Err(unknown()),
    })
}

/// The services that `#[schema(parent(…))]` and `#[schema(consume(…))]` on the struct name. They are no data, so they
/// are no fields of the struct.
fn links(attrs: &[Attribute]) -> syn::Result<Vec<Field>> {
    let mut fields = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("schema")) {
        attr.parse_nested_meta(|meta| {
            let is_parent = meta.path.is_ident("parent");
            if !is_parent && !meta.path.is_ident("consume") {
                return Err(meta.error("not an option of a schema; they are parent(…) and consume(…)"));
            }
            fields.push(link(&meta, is_parent)?);
            Ok(())
        })?;
    }
    Ok(fields)
}

fn link(meta: &ParseNestedMeta<'_>, is_parent: bool) -> syn::Result<Field> {
    const WANTED: &str = "`parent(field = \"host\", role = \"node\")` or `consume(field = \"dbs\", role = \"db\", min = 1, \
                          max = 3)` would be right";
    let span: Span = meta.path.span();
    let (mut name, mut role, mut min, mut max) = (None, None, None, None);
    let mut field = Field::default();
    meta.parse_nested_meta(|meta| {
        match meta.path.get_ident().map(Ident::to_string).as_deref() {
            Some("field") => name = Some(quantity::text(&meta)?.value()),
            Some("role") => role = Some(quantity::text(&meta)?.value()),
            Some("min") if !is_parent => min = Some(meta.value()?.parse::<syn::LitInt>()?.base10_parse()?),
            Some("max") if !is_parent => max = Some(quantity::count::<u32>(&meta)?),
            Some("list") if !is_parent => field.list = true,
            Some("auto") => field.auto = true,
            Some("optional") => field.optional = true,
            _ => return Err(meta.error(format!("not an option of a link; {WANTED}"))),
        }
        Ok(())
    })?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(syn::Error::new(span, format!("`field` and `role` belong to a link; {WANTED}")));
    };
    field.name = name;
    if is_parent {
        field.parent = Some(role);
    } else {
        field.consume = Some(Consume { role, min, max });
    }
    Ok(field)
}
