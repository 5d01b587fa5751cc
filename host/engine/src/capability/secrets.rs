//! `interface secrets`.

use ays_core::capability::SecretPattern;
use serde_json::Value;

use crate::{
    bindings::ays::actor::{secrets::Host, types::Error},
    state::State,
};

/// Where secrets are read from.
pub trait Secrets: Send + Sync + 'static {
    /// The value of the secret of this name; none if there is none. Called for names that passed
    /// [`check_secret_name`](ays_core::capability::check_secret_name), each time a guest asks.
    ///
    /// # Errors
    /// If there is one that cannot be read; the text does not tell its value.
    fn get(&self, name: &str) -> Result<Option<String>, String>;

    /// Where it looks for a secret of this name, for messages.
    fn places(&self, name: &str) -> String;
}

/// What stands in the place of a secret's value.
const HIDDEN: &str = "***";
/// The most secrets that one instance may know.
const MOST: usize = 256;
/// Lines of a secret that are this long are hidden by themselves: what is printed line by line must not show them.
const LINE: usize = 8;
/// Shorter values are hidden where they appear and not looked for in data and events: they are there by chance.
const TELLING: usize = 8;

/// The secrets that an instance has read. Its memory may hold them for as long as it lives.
#[derive(Default)]
pub(crate) struct Known {
    /// Values, and long lines of values, as they are and as JSON escapes them; the longest first.
    values: Vec<String>,
    /// How many secrets.
    count: usize,
}

impl Known {
    /// Says whether there was room for it.
    fn add(&mut self, value: &str) -> bool {
        if value.is_empty() || self.values.iter().any(|known| known == value) {
            return true;
        }
        if self.count >= MOST {
            return false;
        }
        self.count += 1;
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE);
        let parts: Vec<&str> = std::iter::once(value).chain(lines).collect();
        self.values.extend(parts.iter().map(|part| escaped(part)));
        self.values.extend(parts.into_iter().map(str::to_owned));
        self.values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.values.dedup();
        true
    }

    /// Hides them in a text for people.
    pub(crate) fn hide(&self, text: &mut String) {
        for value in &self.values {
            if text.contains(value.as_str()) {
                *text = text.replace(value.as_str(), HIDDEN);
            }
        }
    }

    /// Hides them in JSON, however they are escaped there; says whether there were any.
    pub(crate) fn hide_in(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let before = text.len();
                let had = self.values.iter().any(|known| text.contains(known.as_str()));
                self.hide(text);
                had || text.len() != before
            }
            Value::Array(items) => items.iter_mut().fold(false, |had, item| self.hide_in(item) | had),
            Value::Object(members) => {
                let mut had = false;
                let hidden = std::mem::take(members).into_iter().map(|(mut name, mut value)| {
                    had |= self.values.iter().any(|known| name.contains(known.as_str()));
                    self.hide(&mut name);
                    had |= self.hide_in(&mut value);
                    (name, value)
                });
                *members = hidden.collect();
                had
            }
            Value::Number(number) => {
                let text = number.to_string();
                let had = self.values.contains(&text);
                if had {
                    *value = HIDDEN.into();
                }
                had
            }
            Value::Null | Value::Bool(_) => false,
        }
    }

    /// Whether it is worth while to look.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether an instance knows so many that it should be replaced: the next job may read others, when they change often.
    pub(crate) fn is_crowded(&self) -> bool {
        self.count >= MOST / 2
    }

    /// Whether a text holds one, as it is or as JSON escapes it.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        self.values.iter().any(|known| known.len() >= TELLING && text.contains(known.as_str()))
    }

    /// Whether JSON holds one.
    pub(crate) fn are_in_json(&self, value: &Value) -> bool {
        match value {
            _ if self.is_empty() => false,
            Value::String(text) => self.are_in(text),
            Value::Array(items) => items.iter().any(|item| self.are_in_json(item)),
            Value::Object(members) => {
                members.iter().any(|(name, value)| self.are_in(name) || self.are_in_json(value))
            }
            Value::Number(number) => self.are_in(&number.to_string()),
            Value::Null | Value::Bool(_) => false,
        }
    }
}

/// As it stands between the quotes of JSON: where a guest logs, keeps, or reports JSON of its own.
fn escaped(text: &str) -> String {
    let json = Value::from(text).to_string();
    json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default().to_owned()
}

impl Host for State {
    fn get(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        let call = self.call()?;
        let pattern: SecretPattern = match name.parse() {
            Ok(pattern) if !name.ends_with('*') => pattern,
            Ok(_) => return Ok(Err(Error::Invalid(format!("`{name}` names no single secret")))),
            Err(wrong) => return Ok(Err(Error::Invalid(format!("`{name}` {wrong}")))),
        };
        if let Err(denied) = call.access.secret(&pattern) {
            return Ok(Err(Error::Denied(call.denials.add(&denied))));
        }
        let value = match call.secrets.get(&name) {
            Ok(Some(value)) => value,
            Ok(None) => {
                let places = call.secrets.places(&name);
                return Ok(Err(Error::Invalid(format!("there is no secret `{name}`; {places}"))));
            }
            Err(why) => return Ok(Err(Error::Invalid(format!("the secret `{name}` cannot be read: {why}")))),
        };
        if !call.known.add(&value) {
            return Ok(Err(Error::Limit(format!("an instance may read {MOST} secrets at most"))));
        }
        Ok(Ok(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let mut known = Known::default();
        for secret in
            ["s3cr3t \"quoted\"", "-----BEGIN KEY-----\nMIIabcdef\n-----END KEY-----\n", "4711471147"]
        {
            assert!(known.add(secret));
        }
        let mut text = r#"a s3cr3t "quoted" b; {"x":"s3cr3t \"quoted\""}; MIIabcdef; 47114711470"#.to_owned();
        assert!(known.are_in(&text) && known.are_in(r#""s3cr3t \"quoted\"""#));
        known.hide(&mut text);
        assert_eq!(text, r#"a *** b; {"x":"***"}; ***; ***0"#);
        let mut value = json!({"x": ["a s3cr3t \"quoted\" b"], "MIIabcdef": 4_711_471_147_u64, "n": 4711});
        assert!(known.are_in_json(&value) && known.hide_in(&mut value));
        assert_eq!(value, json!({"x": ["a *** b"], "***": "***", "n": 4711}));
        assert!(!known.are_in_json(&value));
    }

    #[test]
    fn an_instance_is_replaced_before_secrets_that_change_fill_it() {
        let mut known = Known::default();
        let secret = |n: usize| format!("the value of number {n}");
        assert!((0..MOST / 2 - 1).all(|n| known.add(&secret(n))) && !known.is_crowded());
        assert!(known.add(&secret(MOST / 2)) && known.is_crowded());
        assert!((MOST..).take(MOST / 2).all(|n| known.add(&secret(n))) && !known.add("one too many"));
        assert!(known.add(&secret(0)), "it is known already");
    }
}
