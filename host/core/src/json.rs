//! JSON as text that is known to be well-formed.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// JSON text that was checked once, where it came in, and is then passed on without being parsed again.
///
/// Cheap to clone. Serialized as part of a JSON document it appears as the value itself, not as a string. It does
/// not work inside `#[serde(flatten)]` and internally tagged enums, which is a limit of `serde_json`'s raw values.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// Checks that `text` is one JSON value.
    ///
    /// # Errors
    /// If it is not; the error says where.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Ok(Self::compact(raw.get()))
    }

    /// Checks that `text` is one JSON value, and returns that, too.
    ///
    /// # Errors
    /// If it is not, or if it is one that [`Value`](serde_json::Value) cannot hold: a number out of range, or nested
    /// deeper than 127.
    pub fn parse_value(text: &str) -> Result<(Self, serde_json::Value), serde_json::Error> {
        let value = serde_json::from_str(text)?;
        Ok((Self::compact(text), value))
    }

    /// The JSON text of any serializable value.
    ///
    /// # Errors
    /// If the value has no JSON form, as a map whose keys are not strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_string(value)?.into()))
    }

    /// `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// `[]`.
    pub fn empty_list() -> Self {
        Self("[]".into())
    }

    /// `{}`.
    pub fn empty_object() -> Self {
        Self("{}".into())
    }

    /// Well-formed text without the white space between its tokens: a value looks the same however its sender lays out
    /// JSON.
    fn compact(text: &str) -> Self {
        const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
        if !text.contains(BLANKS) {
            return Self(text.into());
        }
        let (mut in_string, mut escaped) = (false, false);
        let compact: String = text
            .chars()
            .filter(|c| {
                if in_string {
                    in_string = escaped || *c != '"';
                    escaped = *c == '\\' && !escaped;
                    return true;
                }
                in_string = *c == '"';
                !BLANKS.contains(c)
            })
            .collect();
        Self(compact.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value.
    pub fn value(&self) -> serde_json::Value {
        // Cannot fail but for numbers out of range and depth over 128, which a checked text may still have.
        serde_json::from_str(&self.0).unwrap_or_else(|_| serde_json::Value::String(self.0.to_string()))
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.0.trim_start().starts_with('{')
    }
}

impl From<&serde_json::Value> for JsonText {
    fn from(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<serde_json::Map<String, serde_json::Value>> for JsonText {
    fn from(object: serde_json::Map<String, serde_json::Value>) -> Self {
        Self::from(&serde_json::Value::Object(object))
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// For an optional field: `null` is a value, too, and only a field that is not there is none. Goes with
/// `#[serde(default)]`.
pub(crate) fn if_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JsonText>, D::Error> {
    JsonText::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self::compact(raw.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_between_tokens_and_stays_in_strings() {
        for (given, expected) in [
            (" [ \"a b\" ,\t1 ,\r\n{ \"k\\\" \\\\\" : null } ] ", "[\"a b\",1,{\"k\\\" \\\\\":null}]"),
            ("\"\\\\\" ", "\"\\\\\""),
            ("{\"a\":1}", "{\"a\":1}"),
        ] {
            let text = JsonText::parse(given).unwrap();
            assert_eq!(text.as_str(), expected);
            assert_eq!(text.value(), serde_json::from_str::<serde_json::Value>(given).unwrap());
        }
    }
}
