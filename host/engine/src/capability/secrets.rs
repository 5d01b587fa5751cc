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
    /// Values, and long lines of values, the longest first.
    values: Vec<String>,
    /// How many secrets.
    count: usize,
}

impl Known {
    fn add(&mut self, value: &str) {
        if value.is_empty() || self.values.iter().any(|known| known == value) {
            return;
        }
        self.count += 1;
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE);
        let parts: Vec<String> = std::iter::once(value.to_owned()).chain(lines.map(str::to_owned)).collect();
        self.values.extend(parts);
        self.values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.values.dedup();
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

    /// Whether a text, or JSON, holds one.
    pub(crate) fn are_in(&self, value: &Value) -> bool {
        let in_text = |text: &str| {
            self.values.iter().any(|known| known.len() >= TELLING && text.contains(known.as_str()))
        };
        match value {
            Value::String(text) => in_text(text),
            Value::Array(items) => items.iter().any(|item| self.are_in(item)),
            Value::Object(members) => members.iter().any(|(name, value)| in_text(name) || self.are_in(value)),
            Value::Number(number) => in_text(&number.to_string()),
            Value::Null | Value::Bool(_) => false,
        }
    }
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
        if call.known.count >= MOST {
            return Ok(Err(Error::Limit(format!("an instance may read {MOST} secrets at most"))));
        }
        call.known.add(&value);
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
        known.add("s3cr3t \"quoted\"");
        known.add("-----BEGIN KEY-----\nMIIabcdef\n-----END KEY-----\n");
        known.add("4711471147");
        let mut text = "a s3cr3t \"quoted\" b; MIIabcdef; 47114711470".to_owned();
        known.hide(&mut text);
        assert_eq!(text, "a *** b; ***; ***0");
        let mut value = json!({"x": ["a s3cr3t \"quoted\" b"], "MIIabcdef": 4_711_471_147_u64, "n": 4711});
        assert!(known.are_in(&value) && known.hide_in(&mut value));
        assert_eq!(value, json!({"x": ["a *** b"], "***": "***", "n": 4711}));
        assert!(!known.are_in(&value));
    }
}
