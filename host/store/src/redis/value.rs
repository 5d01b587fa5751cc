//! Reading what Redis answers.

use redis::Value;

use crate::{Error, Result};

pub(super) fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(list) | Value::Set(list) => Ok(list),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        Value::Nil => Ok(Vec::new()),
        other => Err(unexpected(&other, "a list")),
    }
}

pub(super) fn bytes(value: Value) -> Result<Option<Vec<u8>>> {
    match value {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Okay => Ok(Some(b"OK".to_vec())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Double(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Nil => Ok(None),
        other => Err(unexpected(&other, "a text")),
    }
}

pub(super) fn text(value: Value) -> Result<Option<String>> {
    let Some(bytes) = bytes(value)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| Error::Io("Redis answered bytes where text should be".into()))
}

/// A number; 0 where there is none.
pub(super) fn number(value: Value) -> Result<u64> {
    let Some(text) = text(value)? else { return Ok(0) };
    text.parse().map_err(|_| Error::Io(format!("Redis answered `{text}` where a number should be")))
}

pub(super) fn texts(value: Value) -> Result<Vec<String>> {
    let found = list(value)?.into_iter().map(|value| text(value).map(Option::unwrap_or_default));
    found.collect()
}

/// A hash's fields and values.
pub(super) fn pairs(value: Value) -> Result<Vec<(String, Vec<u8>)>> {
    let mut values = list(value)?.into_iter();
    let mut pairs = Vec::with_capacity(values.len() / 2);
    while let (Some(field), Some(value)) = (values.next(), values.next()) {
        pairs.push((text(field)?.unwrap_or_default(), bytes(value)?.unwrap_or_default()));
    }
    Ok(pairs)
}

fn unexpected(value: &Value, wanted: &str) -> Error {
    let found: String = format!("{value:?}").chars().take(80).collect();
    Error::Io(format!("Redis answered {found} where {wanted} should be"))
}
