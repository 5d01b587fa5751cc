//! Values of fields: what fits, and what a person may have meant.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use serde_json::{Map, Number, Value};

use super::{Field, FieldType, Schema};
use crate::problem;

/// A value that does not fit its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The field; empty if it is about all of them.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub right: String,
}

impl Mismatch {
    pub(crate) fn new(field: &str, what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { field: field.into(), what: what.into(), right: right.into() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", problem::plain(&self.field))?;
        }
        write!(f, "{}; {}", problem::plain(&self.what), problem::plain(&self.right))
    }
}

impl std::error::Error for Mismatch {}

/// What a blueprint gave, checked and brought into the form in which it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// The data fields that were given, by their own names, without defaults.
    pub values: Map<String, Value>,
    /// The services that link fields name, as written (an instance or a whole key), by the field's own name.
    pub links: BTreeMap<String, Vec<String>>,
}

impl Schema {
    /// Checks what a blueprint gives: unknown fields, types, constraints. An alias is replaced by the field's name, a
    /// field given as `null` (nothing after the colon) counts as not given.
    ///
    /// Values are changed only where YAML plainly means it: a whole number for a float, `yes` and `no` for a bool, a
    /// bare number for a duration in seconds.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn accept(&self, given: &Map<String, Value>) -> Result<Given, Vec<Mismatch>> {
        let mut read = Given::default();
        let mut wrong = Vec::new();
        for (name, value) in given {
            let Some(field) = self.field(name) else {
                let names = self.fields.iter().map(|field| field.name.as_str());
                let right = match problem::nearest(name, names.clone()) {
                    Some(meant) => format!("did you mean `{meant}`? The fields are {}", problem::list(names)),
                    None if self.fields.is_empty() => "the actor's schema has none".into(),
                    None => format!("the fields are {}", problem::list(names)),
                };
                wrong.push(Mismatch::new(name, "is not a field of the actor's schema", right));
                continue;
            };
            if value.is_null() {
                continue;
            }
            if read.values.contains_key(&field.name) || read.links.contains_key(&field.name) {
                let right = format!("either `{}` or its alias would be right", field.name);
                wrong.push(Mismatch::new(name, "is given twice", right));
                continue;
            }
            if field.link().is_some() {
                match field.services(value) {
                    Ok(names) => drop(read.links.insert(field.name.clone(), names)),
                    Err(mismatch) => wrong.push(mismatch),
                }
                continue;
            }
            let value = field.coerce(value.clone());
            match field.fit(&value) {
                Ok(()) => drop(read.values.insert(field.name.clone(), value)),
                Err(mismatch) => wrong.push(Mismatch { field: name.clone(), ..mismatch }),
            }
        }
        if wrong.is_empty() { Ok(read) } else { Err(wrong) }
    }

    /// The data of a new service: what was given, with the defaults of all other fields.
    ///
    /// # Errors
    /// As [`accept`](Self::accept); and if a field is missing that must be given.
    pub fn complete(&self, given: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Mismatch>> {
        let values = self.accept(given)?.values;
        self.fill(values)
    }

    /// Adds the defaults of fields that are missing in what [`accept`](Self::accept) gave.
    pub(crate) fn fill(&self, mut values: Map<String, Value>) -> Result<Map<String, Value>, Vec<Mismatch>> {
        let mut data = Map::new();
        let mut wrong = Vec::new();
        for field in self.data_fields() {
            let value = values.remove(&field.name).unwrap_or_else(|| field.default_value());
            match field.fit(&value) {
                Ok(()) => drop(data.insert(field.name.clone(), value)),
                Err(Mismatch { right, .. }) => {
                    wrong.push(Mismatch::new(&field.name, "is missing, and has no default", right));
                }
            }
        }
        if wrong.is_empty() { Ok(data) } else { Err(wrong) }
    }

    /// Checks data that an action writes: an object with known data fields only, each of its type and within its
    /// constraints. Nothing is allocated unless something is wrong.
    ///
    /// # Errors
    /// The first thing that is wrong, for people.
    pub fn check(&self, data: &Value) -> Result<(), String> {
        let Value::Object(members) = data else {
            return Err(format!("the data {}; an object would be right", describe(data)));
        };
        for (name, value) in members {
            let Some(field) = self.fields.iter().find(|field| field.name == *name) else {
                let names = problem::list(self.data_fields().map(|field| field.name.as_str()));
                return Err(format!("{name}: is not a field of the actor's schema; the fields are {names}"));
            };
            if field.link().is_some() {
                return Err(format!("{name}: names services and is no data; only a blueprint changes it"));
            }
            field.fit(value).map_err(|mismatch| mismatch.to_string())?;
        }
        Ok(())
    }
}

impl Field {
    /// Checks a value against type and constraints.
    pub(super) fn fit(&self, value: &Value) -> Result<(), Mismatch> {
        let (one, many) = self.kind.wanted();
        let wrong = |what: String, right: String| Err(Mismatch::new(&self.name, what, right));
        if self.is_list() {
            let Value::Array(items) = value else {
                return wrong(
                    describe(value),
                    format!("a list of {} would be right", many.trim_end_matches(',')),
                );
            };
            if items.is_empty() && (self.optional || self.default.is_none()) {
                return Ok(());
            }
            for (nth, item) in items.iter().enumerate() {
                if let Err((what, right)) = self.fit_one(item, one) {
                    return wrong(format!("item {} {what}", nth + 1), right);
                }
            }
            return Ok(());
        }
        if self.optional && *value == self.kind.empty() {
            return Ok(());
        }
        self.fit_one(value, one).or_else(|(what, right)| wrong(what, right))
    }

    fn fit_one(&self, value: &Value, wanted: &str) -> Result<(), (String, String)> {
        if !self.kind.takes(value) {
            let hint = match (self.kind, value) {
                (FieldType::Str | FieldType::Multiline, Value::Number(_) | Value::Bool(_)) => {
                    format!(", in quotes: '{value}'")
                }
                _ => String::new(),
            };
            return Err((describe(value), format!("{wanted} would be right{hint}")));
        }
        if let Value::Number(number) = value {
            let least = self.minval.as_ref().filter(|least| compare(number, least).is_lt());
            let most = self.maxval.as_ref().filter(|most| compare(number, most).is_gt());
            if least.is_some() || most.is_some() {
                let right = match (&self.minval, &self.maxval) {
                    (Some(least), Some(most)) => format!("{least} to {most} would be right"),
                    (Some(least), None) => format!("{least} or more would be right"),
                    (_, most) => format!("{} or less would be right", most.as_ref().unwrap_or(number)),
                };
                return Err((describe(value), right));
            }
        }
        if let Value::String(text) = value {
            if let Some(regex) = self.regex.as_ref().filter(|regex| !regex.matches(text)) {
                return Err((
                    describe(value),
                    format!("a text that matches `{}` would be right", regex.as_str()),
                ));
            }
            let choices = if self.multichoice.is_empty() { &self.singlechoice } else { &self.multichoice };
            if !choices.is_empty() && !choices.contains(text) {
                return Err((describe(value), format!("one of {} would be right", problem::list(choices))));
            }
        }
        if let (FieldType::Set, Value::Array(items)) = (self.kind, value)
            && let Some(twice) = first_twice(items)
        {
            return Err((format!("has {} twice", shown(twice)), "each item once would be right".into()));
        }
        Ok(())
    }

    /// What a person who wrote this in YAML plainly meant.
    pub(super) fn coerce(&self, value: Value) -> Value {
        match value {
            Value::Array(items) if self.is_list() => {
                Value::Array(items.into_iter().map(|item| self.coerce_one(item)).collect())
            }
            other => self.coerce_one(other),
        }
    }

    fn coerce_one(&self, value: Value) -> Value {
        match (self.kind, &value) {
            (FieldType::Float, Value::Number(number)) => number.as_f64().map_or(value, Value::from),
            (FieldType::Bool, Value::String(text)) => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "true" => Value::Bool(true),
                "no" | "off" | "false" => Value::Bool(false),
                _ => value,
            },
            (FieldType::Duration, Value::Number(number)) if number.is_u64() => {
                Value::from(format!("{number}s"))
            }
            _ => value,
        }
    }

    /// The services that a link field names: one, or a list.
    fn services(&self, value: &Value) -> Result<Vec<String>, Mismatch> {
        let right = "the name of a service, or a list of them, would be right";
        let name = |value: &Value| match value {
            Value::String(name) if !name.is_empty() => Ok(name.clone()),
            // An instance may be called `1`.
            Value::Number(number) => Ok(number.to_string()),
            other => Err(Mismatch::new(&self.name, describe(other), right)),
        };
        match value {
            Value::Array(items) => items.iter().map(name).collect(),
            other => Ok(vec![name(other)?]),
        }
    }
}

fn first_twice(items: &[Value]) -> Option<&Value> {
    // Texts, which sets nearly always hold, are compared by hash; the rest by pairs, as there is no order on JSON.
    let mut texts = std::collections::HashSet::new();
    let mut others: std::collections::HashSet<String> = std::collections::HashSet::new();
    items.iter().find(|item| match item {
        Value::String(text) => !texts.insert(text.as_str()),
        other => !others.insert(other.to_string()),
    })
}

/// Compares two numbers, whatever their kinds.
pub(super) fn compare(a: &Number, b: &Number) -> Ordering {
    let whole = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
    }
}

/// What a value is, for messages: `is the text `abc``.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "is empty".into(),
        Value::Bool(_) | Value::Number(_) => format!("is {value}"),
        Value::String(text) if text.is_empty() => "is an empty text".into(),
        Value::String(text) => format!("is the text {}", problem::quote(text)),
        Value::Array(_) => "is a list".into(),
        Value::Object(_) => "is a mapping".into(),
    }
}

/// A value, for messages: cut short.
pub(crate) fn shown(value: &Value) -> String {
    problem::quote(&value.to_string())
}
