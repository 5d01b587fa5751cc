//! Schemas: the fields of a service's data.
//!
//! A [`Schema`] is a list of [`Field`]s; in JSON it is what a manifest's `schema` holds, and
//! [`hrd::parse_schema`](crate::hrd::parse_schema) reads the same from a `schema.hrd`. It checks what a blueprint gives
//! ([`Schema::accept`], [`Schema::complete`]) and what an action writes ([`Schema::check`]).
//!
//! **Links are not data.** A field with `parent:` or `consume:` names other services. Its values live in the service's
//! [`Links`](crate::service::Links), never in its data, so that there is one place to ask what a service is linked to
//! and an action cannot bend its links by writing data.
//!
//! **Defaults and constraints.** A field that was given no value has its `default`, or else the
//! [empty value](FieldType::empty) of its type. Where a constraint does not allow that (`minval:1` and no default), a
//! blueprint must give the field a value, unless it is `optional`: then the empty value stands for none and is always
//! allowed.

mod id;
mod kind;
mod pattern;
mod value;

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

pub use id::{Adapted, SchemaId};
pub use kind::FieldType;
pub use pattern::Pattern;
pub(crate) use value::describe;
pub use value::{Given, Mismatch};

use crate::problem;

/// The most fields of a schema, and the most of them with a regular expression.
const MOST_FIELDS: usize = 256;
const MOST_PATTERNS: usize = 64;

/// The fields of a service's data.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Schema {
    /// In the order of the schema. [`Schema::new`] checks them; fields put here directly must fit its rules.
    pub fields: Vec<Field>,
}

/// One field. Members that are false or empty are left out of its JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name: letters, digits, `_`, `-` and `.`, not beginning with a digit.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type", default, skip_serializing_if = "is_str")]
    pub kind: FieldType,
    /// Its value when none is given; without one, the empty value of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// It holds a list of its type.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub list: bool,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub descr: String,
    /// What the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<Pattern>,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minval: Option<Number>,
    /// The greatest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxval: Option<Number>,
    /// The value is a list of some of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub multichoice: Vec<String>,
    /// The value is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub singlechoice: Vec<String>,
    /// Other names by which a blueprint may call it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alias: Vec<String>,
    /// It names services that this one consumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consume: Option<Consume>,
    /// It names the service that is this one's parent: the role it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// As many services as a link needs at least are picked, or created, when none are named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto: bool,
    /// It may be left out, whatever its constraints.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The original asked for it at the terminal (`@ask`). Kept, for tools that show a form.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
    /// It tells services of this actor apart. Kept, for tools that show services.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub id: bool,
}

fn is_str(kind: &FieldType) -> bool {
    *kind == FieldType::Str
}

/// What a `consume:` field takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consume {
    /// The role that the services must have: the part of their actor's name before the first `.`.
    pub role: String,
    /// How many at least. Not said: one, or none if the field is optional and not `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// How many at most. Not said: one, or any number if the field is a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// A link that a field asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Whether it is the service's parent, not one of its producers.
    pub is_parent: bool,
    /// The role that the services must have.
    pub role: &'a str,
    /// How many at least.
    pub min: u32,
    /// How many at most.
    pub max: u32,
    /// Whether they are picked or created when none are named.
    pub auto: bool,
}

impl Field {
    /// A text field of this name, with nothing else said.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The link that the field asks for; none if it holds data.
    pub fn link(&self) -> Option<Link<'_>> {
        if let Some(role) = &self.parent {
            let min = u32::from(self.auto || !self.optional);
            return Some(Link { is_parent: true, role, min, max: 1, auto: self.auto });
        }
        let consume = self.consume.as_ref()?;
        let min = consume.min.unwrap_or(u32::from(self.auto || !self.optional));
        let max = consume.max.unwrap_or(if self.list { u32::MAX } else { 1 }).max(min);
        Some(Link { is_parent: false, role: &consume.role, min, max, auto: self.auto })
    }

    /// Whether its value is a list of values of its type.
    pub fn is_list(&self) -> bool {
        self.list || !self.multichoice.is_empty()
    }

    /// Its value when none is given.
    pub fn default_value(&self) -> Value {
        match &self.default {
            Some(value) => value.clone(),
            None if self.is_list() => Value::Array(Vec::new()),
            None => self.kind.empty(),
        }
    }
}

impl Schema {
    /// Checks the fields, one by one and together.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn new(fields: Vec<Field>) -> Result<Self, Vec<Mismatch>> {
        let mut wrong = Vec::new();
        if fields.len() > MOST_FIELDS {
            wrong.push(Mismatch::new(
                "",
                format!("{} fields are too many", fields.len()),
                format!("at most {MOST_FIELDS} would be right"),
            ));
            return Err(wrong);
        }
        if fields.iter().filter(|field| field.regex.is_some()).count() > MOST_PATTERNS {
            wrong.push(Mismatch::new(
                "",
                "too many fields have a regex",
                format!("at most {MOST_PATTERNS} would be right"),
            ));
        }
        let mut names = BTreeSet::new();
        for field in &fields {
            for name in std::iter::once(&field.name).chain(&field.alias) {
                if !names.insert(name.as_str()) {
                    let what = format!("its name {} is there already", problem::quote(name));
                    wrong.push(Mismatch::new(&field.name, what, "each name once would be right"));
                }
            }
        }
        if let Some(second) = fields.iter().filter(|field| field.parent.is_some()).nth(1) {
            wrong.push(Mismatch::new(
                &second.name,
                "is a second `parent:` field",
                "a service has one parent",
            ));
        }
        wrong.extend(fields.iter().filter_map(|field| field.fault()));
        if wrong.is_empty() { Ok(Self { fields }) } else { Err(wrong) }
    }

    /// The field of this name, or with this alias.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let own = self.fields.iter().find(|field| field.name == name);
        own.or_else(|| self.fields.iter().find(|field| field.alias.iter().any(|alias| alias == name)))
    }

    /// The fields that hold data, not links.
    pub fn data_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.link().is_none())
    }

    /// The data of a service that was given nothing. A field that must be given has the empty value of its type here.
    pub fn defaults(&self) -> Map<String, Value> {
        self.data_fields().map(|field| (field.name.clone(), field.default_value())).collect()
    }
}

impl Field {
    /// What is wrong with the field itself.
    fn fault(&self) -> Option<Mismatch> {
        let wrong = |what: String, right: &str| Some(Mismatch::new(&self.name, what, right));
        for name in std::iter::once(&self.name).chain(&self.alias) {
            let fine = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
                && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.len() <= 128;
            if !fine {
                let right = "letters, digits, `_`, `-` and `.`, beginning with a letter, would be right";
                return wrong(format!("{} is not a field's name", problem::quote(name)), right);
            }
        }
        if self.parent.is_some() && self.consume.is_some() {
            return wrong("has `parent:` and `consume:`".into(), "one of them would be right");
        }
        if let Some(role) = self.parent.as_ref().or(self.consume.as_ref().map(|consume| &consume.role)) {
            if !role.parse::<crate::ActorName>().is_ok_and(|name| name.role() == name.as_str()) {
                let right = "the part of an actor's name before the first `.` would be right";
                return wrong(format!("{} is not a role", problem::quote(role)), right);
            }
            if self.default.is_some() || self.regex.is_some() || !self.singlechoice.is_empty() {
                return wrong(
                    "names services, and has constraints of data".into(),
                    "`default:`, `regex:` and choices would be right on a field without `parent:` and `consume:`",
                );
            }
        }
        if let Some(Consume { min: Some(min), max: Some(max), .. }) = &self.consume
            && (min > max || *max == 0)
        {
            return wrong(
                format!("takes at least {min} and at most {max} services"),
                "a minimum that is not above the maximum, and a maximum of 1 or more, would be right",
            );
        }
        if self.auto && self.link().is_none() {
            return wrong(
                "has `auto` but names no services".into(),
                "`auto` together with `parent:` or `consume:` would be right",
            );
        }
        if (self.minval.is_some() || self.maxval.is_some()) && !self.kind.is_number() {
            return wrong(
                format!("has `minval:` or `maxval:`, but is of type {}", self.kind.name()),
                "a type int, float or ipport would be right",
            );
        }
        if let (Some(min), Some(max)) = (&self.minval, &self.maxval)
            && value::compare(min, max).is_gt()
        {
            return wrong(
                format!("`minval:` {min} is above `maxval:` {max}"),
                "the smaller number as `minval:` would be right",
            );
        }
        let chosen = !self.singlechoice.is_empty() || !self.multichoice.is_empty();
        if (self.regex.is_some() || chosen) && !self.kind.is_text() {
            return wrong(
                format!("has a `regex:` or choices, but is of type {}", self.kind.name()),
                "a type str would be right",
            );
        }
        if !self.singlechoice.is_empty() && !self.multichoice.is_empty() {
            return wrong("has `singlechoice:` and `multichoice:`".into(), "one of them would be right");
        }
        let default = self.default.as_ref()?;
        let Mismatch { what, right, .. } = self.fit(default).err()?;
        Some(Mismatch::new(&self.name, format!("its default {what}"), right))
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<Field>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of fields")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Field>, A::Error> {
                // Counted on the way: each field may cost the compilation of a regular expression.
                let mut fields = Vec::new();
                while let Some(field) = seq.next_element()? {
                    fields.push(field);
                    if fields.len() > MOST_FIELDS {
                        return Err(A::Error::custom(format!(
                            "schema: there are more than {MOST_FIELDS} fields"
                        )));
                    }
                }
                Ok(fields)
            }
        }
        Self::new(deserializer.deserialize_seq(Fields)?).map_err(|wrong| {
            let wrong: Vec<String> = wrong.iter().map(|mismatch| format!("schema: {mismatch}")).collect();
            D::Error::custom(wrong.join("\n"))
        })
    }
}
