//! `schema.hrd`: `name = type:str default:'hello prince'`.

use serde_json::{Map, Number, Value};

use super::entry::{Entry, entries, is_quoted, quoted};
use crate::{
    problem::{MOST_PROBLEMS, Problem, list, nearest, quote},
    schema::{Consume, Field, FieldType, Pattern, Schema},
};

/// Tags with a value, and those without.
const WITH_VALUE: [&str; 11] = [
    "type",
    "default",
    "descr",
    "regex",
    "minval",
    "maxval",
    "multichoice",
    "singlechoice",
    "alias",
    "consume",
    "parent",
];
const BARE: [&str; 5] = ["list", "auto", "optional", "@ask", "id"];

/// Reads a `schema.hrd`. `file` is its name, for messages.
///
/// # Errors
/// All mistakes in it, each with its line.
pub fn parse_schema(file: &str, text: &str) -> Result<Schema, Vec<Problem>> {
    let (entries, mut problems) = entries(file, text);
    let mut fields = Vec::new();
    let mut lines = Vec::new();
    for entry in &entries {
        let before = problems.len();
        let field = read_field(file, entry, &mut problems);
        if problems.len() == before {
            lines.push((field.name.clone(), entry.line));
            fields.push(field);
        }
    }
    // Fields that are wrong in themselves are left out here, so that each mistake is reported once.
    match Schema::new(fields) {
        Ok(schema) if problems.is_empty() => Ok(schema),
        Ok(_) => Err(sorted(problems)),
        Err(mismatches) => {
            problems.extend(mismatches.into_iter().map(|mismatch| {
                // The last one: of two fields with one name, the second is the mistake.
                let line =
                    lines.iter().rev().find(|(name, _)| *name == mismatch.field).map(|(_, line)| *line);
                Problem::new(file, mismatch.what, mismatch.right).at(mismatch.field).on_line(line)
            }));
            Err(sorted(problems))
        }
    }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.line);
    problems.truncate(MOST_PROBLEMS);
    problems
}

struct Tag<'a> {
    line: usize,
    key: &'a str,
    value: Option<String>,
    was_quoted: bool,
}

fn read_field(file: &str, entry: &Entry<'_>, problems: &mut Vec<Problem>) -> Field {
    let mut field = Field::named(entry.key);
    let mut seen: Vec<&str> = Vec::new();
    let mut default = None;
    for tag in read_tags(file, entry, problems) {
        let place = format!("{}.{}", entry.key, tag.key);
        let mut wrong = |what: String, right: &str| {
            problems.push(Problem::new(file, what, right).at(&place).on_line(tag.line));
        };
        if seen.contains(&tag.key) {
            wrong("is there twice".into(), "each tag once would be right");
            continue;
        }
        seen.push(tag.key);
        if let Err((what, right)) = set(&mut field, &tag, &mut default) {
            wrong(what, &right);
            // After `type: str`, what follows is no tag.
            if tag.value.as_ref().is_some_and(String::is_empty) {
                break;
            }
        }
    }
    // Only now, since `type:` and `list` may come after `default:`.
    if let Some((line, text)) = default {
        match default_value(&field, &text) {
            Ok(value) => field.default = Some(value),
            Err(right) => {
                let what = format!("its default is {}", quote(&text));
                problems.push(Problem::new(file, what, right).at(entry.key).on_line(line));
            }
        }
    }
    field
}

/// Puts a tag into the field; a default is kept back until the type is known.
fn set(
    field: &mut Field,
    tag: &Tag<'_>,
    default: &mut Option<(usize, String)>,
) -> Result<(), (String, String)> {
    let bare = BARE.contains(&tag.key);
    if !bare && !WITH_VALUE.contains(&tag.key) {
        let known = || WITH_VALUE.into_iter().chain(BARE);
        let right = match nearest(tag.key, known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if tag.value.is_none() => {
                format!(
                    "a text of several words stands in quotes; the tags are {}",
                    known().collect::<Vec<_>>().join(", ")
                )
            }
            None => format!("the tags are {}", known().collect::<Vec<_>>().join(", ")),
        };
        return Err(("is not a tag".into(), right));
    }
    let value = match &tag.value {
        Some(value) if bare => {
            return Err((
                format!("has the value {}", quote(value)),
                format!("`{}` alone would be right", tag.key),
            ));
        }
        Some(value) if value.is_empty() && !tag.was_quoted => {
            return Err((
                "has no value".into(),
                format!("`{}:…` without a blank after the colon would be right", tag.key),
            ));
        }
        None if !bare => return Err(("has no value".into(), format!("`{}:…` would be right", tag.key))),
        value => value.clone().unwrap_or_default(),
    };
    let number = || {
        value
            .parse::<Number>()
            .map_err(|_| (format!("is {}", quote(&value)), "a number would be right".to_owned()))
    };
    match tag.key {
        "list" => field.list = true,
        "auto" => field.auto = true,
        "optional" => field.optional = true,
        "@ask" => field.ask = true,
        "id" => field.id = true,
        "type" => {
            field.kind = value.parse::<FieldType>().map_err(|why| match why.split_once("; ") {
                Some((what, right)) => (what.to_owned(), right.to_owned()),
                None => (why, String::new()),
            })?;
        }
        "default" => *default = Some((tag.line, value)),
        "descr" => field.descr = value,
        "regex" => field.regex = Some(Pattern::new(&value).map_err(|why| (why, String::new()))?),
        "minval" => field.minval = Some(number()?),
        "maxval" => field.maxval = Some(number()?),
        "multichoice" => field.multichoice = items(&value),
        "singlechoice" => field.singlechoice = items(&value),
        "alias" => field.alias = items(&value),
        "parent" => field.parent = Some(value),
        "consume" => field.consume = Some(consume(&value)?),
        _ => {}
    }
    Ok(())
}

fn consume(text: &str) -> Result<Consume, (String, String)> {
    let wrong = || {
        (
            format!("is {}", quote(text)),
            "`consume:role`, `consume:role:min` or `consume:role:min:max` would be right".to_owned(),
        )
    };
    let mut parts = text.split(':');
    let role = parts.next().unwrap_or_default().to_owned();
    let mut number = || parts.next().map(str::parse::<u32>).transpose().map_err(|_| wrong());
    let (min, max) = (number()?, number()?);
    if parts.next().is_some() { Err(wrong()) } else { Ok(Consume { role, min, max }) }
}

/// The items of `a, b, c` or `[a, b, c]`, without quotes around them.
fn items(text: &str) -> Vec<String> {
    let inner = text.trim();
    let inner = inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(inner);
    let unquoted = |item: &str| match quoted(item) {
        Some((value, "")) if is_quoted(item) => value,
        _ => item.to_owned(),
    };
    inner.split(',').map(str::trim).filter(|item| !item.is_empty()).map(unquoted).collect()
}

/// The value that a default's text stands for in a field of this type, or what would be right. Whether it fits the
/// constraints is for the schema to check.
fn default_value(field: &Field, text: &str) -> Result<Value, String> {
    if field.is_list() && !(field.kind == FieldType::Set) {
        return items(text).iter().map(|item| one_value(field.kind, item)).collect();
    }
    one_value(field.kind, text)
}

fn one_value(kind: FieldType, text: &str) -> Result<Value, String> {
    let right = |wanted: &str| format!("{wanted} would be right");
    let (wanted, _) = kind.wanted();
    match kind {
        FieldType::Int | FieldType::IpPort => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<u64>().map(Value::from))
            .map_err(|_| right(wanted)),
        FieldType::Float => {
            text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from).ok_or_else(|| right(wanted))
        }
        FieldType::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true.into()),
            "false" | "no" | "off" | "0" => Ok(false.into()),
            _ => Err(right(wanted)),
        },
        FieldType::Set => Ok(items(text).into_iter().map(Value::from).collect()),
        FieldType::Dict => match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(object) => Ok(Value::Object(object)),
            Err(_) => pairs(text).ok_or_else(|| right("`{\"a\": 1}` or `a:1, b:2`")),
        },
        // What is no JSON is a text: that is how YAML reads `hello`.
        FieldType::Yaml => Ok(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
        FieldType::Json => serde_json::from_str(text).map_err(|_| right("JSON, as `{\"a\": [1, 2]}`,")),
        FieldType::Duration if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(format!("{text}s").into())
        }
        _ => Ok(text.into()),
    }
}

/// `a:1, b:2`, as the original wrote dictionaries; the values are texts.
fn pairs(text: &str) -> Option<Value> {
    let pair = |item: &String| {
        let (key, value) = item.split_once(':')?;
        Some((key.trim().to_owned(), Value::from(value.trim())))
    };
    items(text).iter().map(pair).collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn read_tags<'a>(file: &str, entry: &Entry<'a>, problems: &mut Vec<Problem>) -> Vec<Tag<'a>> {
    let mut tags = Vec::new();
    for &(line, text) in &entry.value {
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if rest.is_empty() {
                break;
            }
            let Some((tag, after)) = read_tag(line, rest) else {
                let what = format!("{} has a quote that does not end", quote(rest));
                let right = "a second quote of the same kind on this line would be right";
                problems.push(Problem::new(file, what, right).at(entry.key).on_line(line));
                break;
            };
            if tag.key.is_empty() {
                let what = format!("{} is not a tag", quote(rest));
                let right =
                    format!("`type:str default:'…'`, say, would be right; the tags are {}", list(WITH_VALUE));
                problems.push(Problem::new(file, what, right).at(entry.key).on_line(line));
                break;
            }
            tags.push(tag);
            rest = after;
        }
    }
    tags
}

/// Takes a tag off the front; none if a quote does not end. A tag that begins with a colon or a quote has no key.
fn read_tag(line: usize, text: &str) -> Option<(Tag<'_>, &str)> {
    let end = text.find(|c: char| c.is_whitespace() || ":,'\"".contains(c)).unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    let tag = |value, was_quoted| Tag { line, key, value, was_quoted };
    let Some(value) = rest.strip_prefix(':') else { return Some((tag(None, false), rest)) };
    if is_quoted(value) {
        let (value, rest) = quoted(value)?;
        return Some((tag(Some(value), true), rest));
    }
    if value.starts_with(['[', '{']) {
        let end = bracketed(value)?;
        return Some((tag(value.get(..end).map(str::to_owned), false), value.get(end..)?));
    }
    let end = value.find(char::is_whitespace).unwrap_or(value.len());
    let (value, rest) = value.split_at(end);
    Some((tag(Some(value.trim_end_matches(',').to_owned()), false), rest))
}

/// Where the bracket that opens the text ends.
fn bracketed(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut mark = None;
    for (at, c) in text.char_indices() {
        match (mark, c) {
            (Some(m), c) if m == c => mark = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => mark = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') if depth <= 1 => return Some(at + 1),
            (None, ']' | '}') => depth -= 1,
            _ => {}
        }
    }
    None
}
