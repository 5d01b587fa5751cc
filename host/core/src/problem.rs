//! Problems: what is wrong with a file that a person wrote.

use std::fmt;

use serde::Serialize;

/// One mistake in one file. All mistakes of a file are reported at once.
///
/// It reads `blueprint.yaml:3: actproducer__p1.msg: is a list; a text would be right`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The keys that lead to it, as `actproducer__p1.msg` or `eventfilters[2].action`. Empty for the whole file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What would be right. Empty where `what` says it already.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub right: String,
}

impl Problem {
    /// A problem of the file as a whole.
    pub fn new(file: &str, what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, place: String::new(), what: what.into(), right: right.into() }
    }

    /// The same, at these keys.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self { place: place.into(), ..self }
    }

    /// The same, on this line (from 1), if it is known.
    #[must_use]
    pub fn on_line(self, line: impl Into<Option<usize>>) -> Self {
        Self { line: line.into(), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.what)?;
        if !self.right.is_empty() {
            write!(f, "; {}", self.right)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// How many names a message lists before it says how many more there are.
const LISTED: usize = 12;

/// Names for a message: `a, b, c`, cut after a dozen, or `none`.
pub(crate) fn list<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    let mut count = 0usize;
    for name in names {
        count += 1;
        if count <= LISTED {
            if count > 1 {
                text.push_str(", ");
            }
            text.push_str(name.as_ref());
        }
    }
    match count {
        0 => "none".into(),
        _ if count > LISTED => format!("{text} and {} more", count - LISTED),
        _ => text,
    }
}

/// A text for a message: cut to 40 characters, on one line.
pub(crate) fn quote(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(40)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The one of `names` that `given` may have been meant to be: at most two slips away, and fewer than half its length.
pub(crate) fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > 64 {
        return None;
    }
    let most = (given.chars().count() / 3).min(2);
    names
        .into_iter()
        .filter(|name| name.len() <= 64)
        .map(|name| (slips(&given.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(slips, _)| *slips <= most)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// The Levenshtein distance.
fn slips(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for ((y, diagonal), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant() {
        assert_eq!(nearest("mgs", ["msg", "image"]), None);
        assert_eq!(nearest("sned_message", ["install", "send_message"]), Some("send_message"));
        assert_eq!(nearest("Install", ["install"]), Some("install"));
        assert_eq!(nearest("x", ["y"]), None);
    }
}
