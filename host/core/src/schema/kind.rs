//! The types of fields.

use std::{net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::problem;

/// What a field holds. In JSON:
///
/// | type | JSON | empty |
/// |---|---|---|
/// | `str`, `multiline`, `path` | text | `""` |
/// | `int` | whole number from -2⁶³ to 2⁶⁴-1 | `0` |
/// | `float` | number | `0.0` |
/// | `bool` | `true`, `false` | `false` |
/// | `email`, `tel`, `guid` | text of that form; empty for none | `""` |
/// | `ipaddr` | text: an IPv4 or IPv6 address; empty for none | `""` |
/// | `iprange` | text: `10.0.0.0/24`, or `10.0.0.5-10.0.0.9`; empty for none | `""` |
/// | `ipport` | number from 0 to 65535; 0 for none | `0` |
/// | `date` | text: `2026-01-31`, or RFC 3339 with a time; empty for none | `""` |
/// | `duration` | text: a number with an optional unit `s m h d w`, as `5m`; empty for none | `""` |
/// | `dict` | object | `{}` |
/// | `set` | list without equal items | `[]` |
/// | `yaml`, `json` | anything | `null` |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the table above says what each is")]
pub enum FieldType {
    #[default]
    #[serde(alias = "string")]
    Str,
    #[serde(alias = "integer")]
    Int,
    Float,
    #[serde(alias = "boolean")]
    Bool,
    Multiline,
    Email,
    Tel,
    IpAddr,
    IpRange,
    IpPort,
    Date,
    Duration,
    Guid,
    Path,
    Dict,
    Set,
    Yaml,
    Json,
}

/// Every type, by its name.
pub(crate) const TYPES: [(&str, FieldType); 18] = [
    ("str", FieldType::Str),
    ("int", FieldType::Int),
    ("float", FieldType::Float),
    ("bool", FieldType::Bool),
    ("multiline", FieldType::Multiline),
    ("email", FieldType::Email),
    ("tel", FieldType::Tel),
    ("ipaddr", FieldType::IpAddr),
    ("iprange", FieldType::IpRange),
    ("ipport", FieldType::IpPort),
    ("date", FieldType::Date),
    ("duration", FieldType::Duration),
    ("guid", FieldType::Guid),
    ("path", FieldType::Path),
    ("dict", FieldType::Dict),
    ("set", FieldType::Set),
    ("yaml", FieldType::Yaml),
    ("json", FieldType::Json),
];

impl FromStr for FieldType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let lower = name.to_ascii_lowercase();
        let lower = match lower.as_str() {
            "string" => "str",
            "integer" => "int",
            "boolean" => "bool",
            other => other,
        };
        TYPES.iter().find(|(known, _)| *known == lower).map(|(_, kind)| *kind).ok_or_else(|| {
            format!(
                "{} is not a type; the types are {}",
                problem::quote(name),
                TYPES.map(|(name, _)| name).join(", ")
            )
        })
    }
}

impl FieldType {
    /// Its name.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("str", |(name, _)| name)
    }

    /// The value of a field that was given none.
    pub fn empty(self) -> Value {
        match self {
            Self::Int | Self::IpPort => Value::from(0),
            Self::Float => Value::from(0.0),
            Self::Bool => Value::from(false),
            Self::Dict => Value::Object(Map::new()),
            Self::Set => Value::Array(Vec::new()),
            Self::Yaml | Self::Json => Value::Null,
            _ => Value::from(""),
        }
    }

    /// What would be right, for messages: one, and many.
    pub(crate) fn wanted(self) -> (&'static str, &'static str) {
        match self {
            Self::Str | Self::Multiline => ("a text", "texts"),
            Self::Int => ("a whole number", "whole numbers"),
            Self::Float => ("a number", "numbers"),
            Self::Bool => ("true or false", "true or false"),
            Self::Email => ("an e-mail address, as ann@example.org,", "e-mail addresses"),
            Self::Tel => ("a telephone number, as +32 470 12 34 56,", "telephone numbers"),
            Self::IpAddr => ("an IP address, as 10.0.0.5 or fd00::5,", "IP addresses"),
            Self::IpRange => {
                ("a range of IP addresses, as 10.0.0.0/24 or 10.0.0.5-10.0.0.9,", "ranges of IP addresses")
            }
            Self::IpPort => {
                ("a port, a whole number from 1 to 65535,", "ports, whole numbers from 1 to 65535,")
            }
            Self::Date => ("a date, as 2026-01-31 or 2026-01-31T08:00:00Z,", "dates, as 2026-01-31,"),
            Self::Duration => ("a duration, as 90s, 5m, 2h, 1d or 1w,", "durations, as 5m,"),
            Self::Guid => ("a GUID, as 123e4567-e89b-12d3-a456-426614174000,", "GUIDs"),
            Self::Path => ("a path, as /var/lib/node,", "paths"),
            Self::Dict => ("a mapping", "mappings"),
            Self::Set => ("a list without equal items", "lists without equal items"),
            Self::Yaml | Self::Json => ("any value", "any values"),
        }
    }

    /// Whether `minval` and `maxval` make sense for it.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::IpPort)
    }

    /// Whether `regex`, `singlechoice` and `multichoice` make sense for it: it is a text of its own.
    pub(crate) fn is_text(self) -> bool {
        !self.is_number() && !matches!(self, Self::Bool | Self::Dict | Self::Set | Self::Yaml | Self::Json)
    }

    /// Whether one value, not a list of them, has this type.
    pub(crate) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Int => value.is_i64() || value.is_u64(),
            Self::Float => value.is_number(),
            Self::Bool => value.is_boolean(),
            Self::IpPort => value.as_u64().is_some_and(|port| port <= 65535),
            Self::Dict => value.is_object(),
            Self::Set => value.is_array(),
            Self::Yaml | Self::Json => true,
            _ => value.as_str().is_some_and(|text| self.takes_text(text)),
        }
    }

    fn takes_text(self, text: &str) -> bool {
        if text.is_empty() {
            return true;
        }
        match self {
            Self::Email => is_email(text),
            Self::Tel => is_tel(text),
            Self::IpAddr => text.parse::<IpAddr>().is_ok(),
            Self::IpRange => is_range(text),
            Self::Date => is_date(text),
            Self::Duration => is_duration(text),
            Self::Guid => is_guid(text),
            Self::Path => !text.contains(['\0', '\n']),
            _ => true,
        }
    }
}

/// A local part, an `@`, and labels of a domain. Whether mail arrives there nobody can tell from the text, so this only
/// refuses what is surely something else.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let label = |l: &str| !l.is_empty() && l.chars().all(|c| c.is_alphanumeric() || c == '-');
    !local.is_empty()
        && text.len() <= 254
        && !local.contains(|c: char| c.is_whitespace() || c.is_control() || "@,;<>()".contains(c))
        && domain.split('.').all(label)
}

/// Digits, at least three, with `+` before them and blanks, brackets, dots, dashes and slashes between.
fn is_tel(text: &str) -> bool {
    let rest = text.strip_prefix('+').unwrap_or(text);
    rest.chars().all(|c| c.is_ascii_digit() || " ()-./".contains(c))
        && (3..=20).contains(&rest.chars().filter(char::is_ascii_digit).count())
}

fn is_range(text: &str) -> bool {
    if let Some((address, bits)) = text.split_once('/') {
        let most = match address.trim().parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        return bits.trim().parse::<u8>().is_ok_and(|bits| bits <= most);
    }
    let Some((first, last)) = text.split_once('-') else { return false };
    match (first.trim().parse::<IpAddr>(), last.trim().parse::<IpAddr>()) {
        (Ok(IpAddr::V4(first)), Ok(IpAddr::V4(last))) => first <= last,
        (Ok(IpAddr::V6(first)), Ok(IpAddr::V6(last))) => first <= last,
        _ => false,
    }
}

fn is_date(text: &str) -> bool {
    chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
        || chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

fn is_duration(text: &str) -> bool {
    let digits = text.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(text);
    (1..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}
