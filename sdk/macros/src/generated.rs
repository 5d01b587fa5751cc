//! The struct that `#[actor(schema = "schema.hrd")]` makes of the schema.

use std::collections::BTreeMap;

use ays_core::schema::{Field, FieldType, Schema};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use serde_json::Value;
use syn::Ident;

use crate::hrd_file::HrdFile;

/// The struct `name` with the schema's data fields, its `Default` and its `Schema`.
pub(crate) fn data(name: &Ident, schema: &Schema, file: &HrdFile) -> syn::Result<TokenStream> {
    let json = schema_json(schema);
    let doc = format!("The data of a service, as {} has them.", file.name());
    let fields: Vec<&Field> = schema.data_fields().collect();
    if fields.is_empty() {
        return Ok(quote! {
            #[doc = #doc]
            #[derive(Clone, Copy, Debug, Default, PartialEq)]
            struct #name;

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
    let idents = idents(&fields, file)?;
    let members = fields.iter().zip(&idents).map(|(field, ident)| {
        let (name, ty) = (&field.name, field_type(field));
        let doc = if field.descr.is_empty() { format!("The field `{name}`.") } else { field.descr.clone() };
        quote! { #[doc = #doc] #[serde(rename = #name)] #ident: #ty }
    });
    let defaults = fields.iter().zip(&idents).map(|(field, ident)| {
        let value = value(&field.default_value(), field.kind, field.is_list());
        quote! { #ident: #value }
    });
    let implementation = schema_impl(name, &json);
    Ok(quote! {
        #[doc = #doc]
        #[derive(Clone, Debug, PartialEq, ::ays_sdk::serde::Serialize, ::ays_sdk::serde::Deserialize)]
        #[serde(crate = "::ays_sdk::serde", default)]
        #[allow(dead_code, reason = "the schema says which fields there are, not what the actions use")]
        struct #name { #(#members),* }

        impl ::core::default::Default for #name {
            fn default() -> Self {
                Self { #(#defaults),* }
            }
        }

        #implementation
    })
}

/// The schema's JSON, as the manifest has it.
pub(crate) fn schema_json(schema: &Schema) -> String {
    serde_json::to_value(schema).unwrap_or_default().to_string()
}

/// `impl Schema` for a struct with fields.
pub(crate) fn schema_impl(name: &Ident, json: &str) -> TokenStream {
    quote! {
        impl ::ays_sdk::Schema for #name {
            const SCHEMA: &'static str = #json;

            fn load() -> ::ays_sdk::Result<Self> {
                ::ays_sdk::rt::load()
            }

            fn text(&self) -> ::ays_sdk::Result<::std::string::String> {
                ::ays_sdk::rt::text(self)
            }
        }
    }
}

/// The fields' names in Rust: `-` and `.` become `_`, keywords are written `r#type`.
fn idents(fields: &[&Field], file: &HrdFile) -> syn::Result<Vec<Ident>> {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    fields
        .iter()
        .map(|field| {
            let name = field.name.replace(['-', '.'], "_");
            if let Some(other) = taken.insert(name.clone(), &field.name) {
                return Err(file.error(format!(
                    "{}: the fields `{other}` and `{}` would both be `{name}` in Rust; another name for one of them \
                     would be right",
                    file.name(),
                    field.name
                )));
            }
            Ok(match name.as_str() {
                "self" | "Self" | "super" | "crate" | "_" => format_ident!("{name}_"),
                _ => syn::parse_str::<Ident>(&name).unwrap_or_else(|_| format_ident!("r#{name}")),
            })
        })
        .collect()
}

fn field_type(field: &Field) -> TokenStream {
    let one = match field.kind {
        FieldType::Int => quote! { i64 },
        FieldType::Float => quote! { f64 },
        FieldType::Bool => quote! { bool },
        FieldType::IpPort => quote! { u16 },
        FieldType::Dict => {
            quote! { ::ays_sdk::serde_json::Map<::std::string::String, ::ays_sdk::serde_json::Value> }
        }
        FieldType::Set => quote! { ::std::vec::Vec<::ays_sdk::serde_json::Value> },
        FieldType::Yaml | FieldType::Json => quote! { ::ays_sdk::serde_json::Value },
        _ => quote! { ::std::string::String },
    };
    if field.is_list() {
        quote! { ::std::vec::Vec<#one> }
    } else {
        one
    }
}

/// The code of a value that is known to fit the field.
fn value(value: &Value, kind: FieldType, is_list: bool) -> TokenStream {
    if is_list {
        let items = value.as_array().into_iter().flatten().map(|item| self::value(item, kind, false));
        return quote! { ::std::vec![#(#items),*] };
    }
    match (kind, value) {
        (FieldType::Int, _) => {
            let number = value.as_i64().unwrap_or_default();
            quote! { #number }
        }
        (FieldType::Float, _) => {
            let number = value.as_f64().unwrap_or_default();
            quote! { #number }
        }
        (FieldType::IpPort, _) => {
            let number = value.as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
            quote! { #number }
        }
        (FieldType::Bool, Value::Bool(yes)) => quote! { #yes },
        (FieldType::Dict | FieldType::Set | FieldType::Yaml | FieldType::Json, value) => {
            let json = value.to_string();
            quote! { ::ays_sdk::rt::value_from_default(#json) }
        }
        (_, Value::String(text)) if !text.is_empty() => quote! { ::std::string::String::from(#text) },
        _ => quote! { ::core::default::Default::default() },
    }
}
