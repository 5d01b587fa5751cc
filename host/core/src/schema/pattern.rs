//! Patterns: regular expressions that strangers wrote.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// The longest pattern, in bytes, and the most memory that one may take compiled, in bytes.
const LONGEST: usize = 1000;
const MOST_MEMORY: usize = 256 << 10;

/// A regular expression that a whole text must match, as if it stood between `^` and `$`. The engine takes time in
/// proportion to the text, whatever the pattern, so a stranger's pattern can be applied to a stranger's text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    whole: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If it is not a regular expression, or a very large one: what is wrong, for people.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("the regular expression has {} bytes; {LONGEST} are the most", text.len()));
        }
        let compile = |pattern: &str| {
            let mut builder = RegexBuilder::new(pattern);
            builder.size_limit(MOST_MEMORY).dfa_size_limit(MOST_MEMORY).nest_limit(50).build()
        };
        // On its own first: what is wrong with `a)|(b` must not become right within the brackets.
        compile(text)
            .and_then(|_| compile(&format!(r"\A(?:{text})\z")))
            .map(|whole| Self { text: text.into(), whole })
            .map_err(|error| reason(text, &error))
    }

    /// Whether it matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }

    /// The pattern, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// On one line, without the drawing that the library adds.
fn reason(text: &str, error: &regex::Error) -> String {
    let why = match error {
        regex::Error::CompiledTooBig(_) => "it takes too much memory".into(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    };
    format!("{} is not a regular expression: {why}", crate::problem::quote(text))
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}
