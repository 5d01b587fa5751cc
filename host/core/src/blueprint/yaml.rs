//! YAML into JSON values, within bounds, and with its pitfalls named: tags, keys that are no texts, keys given twice,
//! numbers that JSON does not have, and aliases that multiply.

use std::{cell::RefCell, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::problem::{Problem, quote};

/// The largest file in bytes; how deep values nest; how many values there are, and the sum of the lengths of their
/// texts in bytes, when every alias has been replaced by what it stands for.
const LONGEST: usize = 1 << 20;
const DEEPEST: usize = 50;
const MOST_VALUES: usize = 100_000;
const MOST_BYTES: usize = 8 << 20;

/// How deep brackets may stand open. The YAML library looks at each open one again for each further token.
const MOST_BRACKETS: usize = 1000;

/// The members of a file's mapping, in order, and what is wrong below them.
pub(super) struct Document {
    pub(super) members: Vec<(String, Value)>,
    pub(super) problems: Vec<Fault>,
}

/// What is wrong with a value, or with a key in it.
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) what: String,
    pub(super) right: String,
    /// How the key may be written that it is about, if it is about one below the place.
    keys: &'static [&'static str],
    /// The same, where it depends on the file.
    key: Option<String>,
}

impl Fault {
    /// The line of the key, or else of the place.
    pub(super) fn line(&self, text: &str) -> Option<usize> {
        let line = |key: &str| {
            let mut path = parts(&self.place);
            path.push(super::lines::Part::Key(key));
            super::lines::find(text, &path)
        };
        self.keys.iter().copied().chain(self.key.as_deref()).filter_map(line).max()
    }
}

/// Keys and indices that lead to a value.
pub(super) type Place = Vec<Segment>;

#[derive(Clone, Debug)]
pub(super) enum Segment {
    Key(String),
    Item(usize),
}

/// Reads a file that is one mapping, or nothing at all.
///
/// # Errors
/// If it is not YAML, not a mapping, or out of bounds.
pub(super) fn read(file: &str, text: &str) -> Result<Document, Problem> {
    if text.len() > LONGEST {
        let what = format!("has {} bytes", text.len());
        return Err(Problem::new(file, what, format!("at most {LONGEST} would be right")));
    }
    if let Some(line) = too_many_brackets(text) {
        let what = "has brackets nested too deep";
        return Err(Problem::new(file, what, format!("at most {DEEPEST} would be right")).on_line(line));
    }
    let state = RefCell::new(State::default());
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let first = match documents.next() {
        Some(document) => (Members { state: &state }).deserialize(document),
        None => Ok(Vec::new()),
    };
    let mut state = state.into_inner();
    let members = first.map_err(|error| match state.fatal.take() {
        Some((what, right)) => {
            let problem = Problem::new(file, what, right).at(super::lines::place(&parts(&state.path)));
            problem.on_line(super::lines::find(text, &parts(&state.path)))
        }
        None => not_yaml(file, text, &error),
    })?;
    if let Some(second) = documents.next() {
        // What is wrong with the first one's end comes to light only here.
        if let Err(error) = serde::de::IgnoredAny::deserialize(second) {
            return Err(not_yaml(file, text, &error));
        }
        let right = "one document would be right; files run in the order of their names";
        return Err(
            Problem::new(file, "has more than one document (`---`)", right).on_line(second_document(text))
        );
    }
    Ok(Document { members, problems: state.problems })
}

/// The line of the first `---` that has something before it.
fn second_document(text: &str) -> Option<usize> {
    let mut lines =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines.next();
    lines.find(|(_, line)| line.starts_with("---")).map(|(nth, _)| nth + 1)
}

/// For [`lines`](super::lines).
pub(super) fn parts(place: &[Segment]) -> Vec<super::lines::Part<'_>> {
    let part = |segment| match segment {
        &Segment::Item(nth) => super::lines::Part::Item(nth),
        Segment::Key(key) => super::lines::Part::Key(key),
    };
    place.iter().map(part).collect()
}

fn not_yaml(file: &str, text: &str, error: &serde_yaml::Error) -> Problem {
    let line = error.location().map(|location| location.line());
    let about = line.and_then(|line| text.lines().nth(line.saturating_sub(1))).unwrap_or_default();
    let message = error.to_string();
    if message.contains("repetition limit") {
        let right = "fewer aliases (`*name`), or several files, would be right";
        return Problem::new(file, "has aliases that stand for too much", right).on_line(line);
    }
    let right = if message.contains("unknown anchor") {
        "`&name` before the first `*name` would be right; a text that begins with `*` stands in quotes"
    } else if message.contains("quoted scalar") {
        "a second quote of the same kind ends a text that a quote begins"
    } else if about.trim_start_matches(' ').starts_with('\t') {
        "blanks for indentation, not tabs, would be right"
    } else if about.trim_start().starts_with(['@', '`', '%'])
        || about.contains(": @")
        || about.contains(": %")
    {
        "a text that begins with such a character stands in quotes"
    } else if message.contains("mapping values are not allowed") {
        "a text with `: ` in it stands in quotes; a key's value stands after a blank, or indented below it"
    } else {
        "`key: value`, with what belongs to a key indented by blanks below it, would be right"
    };
    Problem::new(file, format!("is not YAML: {message}"), right).on_line(line)
}

/// The line on which too many brackets are open. Brackets in texts and comments count, too, so the bound is wide.
fn too_many_brackets(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (nth, line) in text.lines().enumerate() {
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
        }
        if open > MOST_BRACKETS {
            return Some(nth + 1);
        }
    }
    None
}

#[derive(Default)]
struct State {
    path: Place,
    values: usize,
    bytes: usize,
    problems: Vec<Fault>,
    /// Why reading was given up.
    fatal: Option<(String, String)>,
}

impl State {
    fn report(&mut self, what: impl Into<String>, right: impl Into<String>) {
        let fault =
            Fault { place: self.path.clone(), what: what.into(), right: right.into(), keys: &[], key: None };
        self.problems.push(fault);
    }

    /// Reports a key of the mapping that is being read.
    fn report_key(&mut self, keys: &'static [&'static str], key: Option<String>, what: &str, right: &str) {
        self.report(what, right);
        if let Some(fault) = self.problems.last_mut() {
            fault.keys = keys;
            fault.key = key;
        }
    }

    fn give_up<E: Error>(&mut self, what: String, right: String) -> E {
        self.fatal = Some((what, right));
        E::custom("out of bounds")
    }

    fn count<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.values += 1;
        self.bytes += bytes;
        let right = "fewer aliases (`*name`), or several files, would be right";
        if self.values > MOST_VALUES {
            return Err(self.give_up(format!("has more than {MOST_VALUES} values"), right.into()));
        }
        if self.bytes > MOST_BYTES {
            return Err(self.give_up(format!("has more than {MOST_BYTES} bytes of text"), right.into()));
        }
        if self.path.len() > DEEPEST {
            // Fifty times `[0]` helps nobody.
            self.path.truncate(2);
            return Err(
                self.give_up("is nested too deep".into(), format!("at most {DEEPEST} levels would be right"))
            );
        }
        Ok(())
    }
}

/// Reads the outermost mapping, whose order counts.
struct Members<'s> {
    state: &'s RefCell<State>,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Vec<(String, Value)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

const SHAPE: &str =
    "a mapping of services (`actor__instance:`), `actions:` and `eventfilters:` would be right";

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    // What the YAML library makes of a file that is empty, or has nothing but comments.
    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        members(self.state, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(self.state.borrow_mut().give_up("is a list".into(), SHAPE.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Err(self.state.borrow_mut().give_up(format!("is the text {}", quote(text)), SHAPE.into()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Err(self.state.borrow_mut().give_up(format!("is {value}"), SHAPE.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Err(self.state.borrow_mut().give_up(format!("is {value}"), SHAPE.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Err(self.state.borrow_mut().give_up(format!("is {value}"), SHAPE.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Err(self.state.borrow_mut().give_up(format!("is {value}"), SHAPE.into()))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Self::Value, A::Error> {
        let (tag, _) = data.variant::<String>()?;
        Err(self.state.borrow_mut().give_up(format!("has the tag `!{tag}`"), SHAPE.into()))
    }
}

fn members<'de, A: MapAccess<'de>>(
    state: &RefCell<State>,
    mut map: A,
) -> Result<Vec<(String, Value)>, A::Error> {
    let mut members: Vec<(String, Value)> = Vec::new();
    let mut names = std::collections::HashSet::new();
    let mut merged: Vec<Map<String, Value>> = Vec::new();
    while let Some(key) = map.next_key_seed(One { state })? {
        let name = match key {
            Value::String(name) => name,
            Value::Null => {
                let right = "a name before the colon would be right";
                state.borrow_mut().report_key(&["~", "null", ""], None, "has an empty key", right);
                "null".into()
            }
            Value::Bool(_) | Value::Number(_) => {
                let right = format!("a text in quotes, '{key}', would be right");
                let what = format!("has the key {key}, which is not a text");
                state.borrow_mut().report_key(&[], Some(key.to_string()), &what, &right);
                key.to_string()
            }
            _ => {
                let right = "a text would be right; one that begins with `{`, `[` or `? ` stands in quotes";
                state.borrow_mut().report("has a list or a mapping as a key", right);
                "?".into()
            }
        };
        state.borrow_mut().path.push(Segment::Key(name.clone()));
        let value = map.next_value_seed(One { state })?;
        if !names.insert(name.clone()) {
            state.borrow_mut().report("is there twice", "each key once would be right");
        } else if name == "<<" {
            match value {
                Value::Object(object) => merged.push(object),
                Value::Array(items) if items.iter().all(Value::is_object) => {
                    merged.extend(items.into_iter().filter_map(|item| match item {
                        Value::Object(object) => Some(object),
                        _ => None,
                    }));
                }
                _ => state
                    .borrow_mut()
                    .report("merges what is not a mapping", "an alias of a mapping would be right"),
            }
        } else {
            members.push((name, value));
        }
        state.borrow_mut().path.pop();
    }
    for (name, value) in merged.into_iter().flatten() {
        if names.insert(name.clone()) {
            members.push((name, value));
        }
    }
    Ok(members)
}

/// Reads any value.
#[derive(Clone, Copy)]
struct One<'s> {
    state: &'s RefCell<State>,
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl One<'_> {
    fn too_large<E: Error>(self, number: impl fmt::Display) -> Result<Value, E> {
        self.state.borrow_mut().report(
            format!("is {number}"),
            "a number that fits 64 bits, or a text in quotes, would be right",
        );
        Ok(Value::Null)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.state.borrow_mut().count(0)?;
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.state.borrow_mut().count(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.state.borrow_mut().count(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.state.borrow_mut().count(0)?;
        Ok(value.into())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.too_large(value)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.too_large(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.state.borrow_mut().count(0)?;
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => {
                self.state.borrow_mut().report(format!("is {value}"), "a finite number would be right");
                Ok(Value::Null)
            }
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.state.borrow_mut().count(text.len())?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.state.borrow_mut().count(0)?;
        let mut items = Vec::new();
        loop {
            self.state.borrow_mut().path.push(Segment::Item(items.len()));
            let Some(item) = seq.next_element_seed(self)? else { break };
            items.push(item);
            self.state.borrow_mut().path.pop();
        }
        self.state.borrow_mut().path.pop();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        self.state.borrow_mut().count(0)?;
        Ok(Value::Object(members(self.state, map)?.into_iter().collect()))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (tag, content) = data.variant::<String>()?;
        self.state.borrow_mut().report(format!("has the tag `!{tag}`"), "a plain value would be right");
        content.newtype_variant_seed(self)
    }
}
