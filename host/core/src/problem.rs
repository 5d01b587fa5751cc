//! Problems: what is wrong with a file that a person wrote.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// One mistake in one file. All mistakes of a file are reported at once.
///
/// It reads `blueprint.yaml:3: actproducer__p1.msg: is a list; a text would be right`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The keys that lead to it, as `actproducer__p1.msg` or `eventfilters[2].action`. Empty for the whole file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What would be right. Empty where `what` says it already.
    #[serde(default, skip_serializing_if = "String::is_empty")]
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
            write!(f, ": {}", plain(&self.place))?;
        }
        write!(f, ": {}", plain(&self.what))?;
        if !self.right.is_empty() {
            write!(f, "; {}", plain(&self.right))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The most problems of one file, or of one plan, that are reported.
pub(crate) const MOST_PROBLEMS: usize = 100;

/// Adds a problem unless there are enough. It is made only then: finding its line means going through the file.
pub(crate) fn report(problems: &mut Vec<Problem>, problem: impl FnOnce() -> Problem) {
    if problems.len() < MOST_PROBLEMS {
        problems.push(problem());
    }
}

/// Text for one line of a terminal: what a stranger wrote into a file neither breaks the line nor colours the rest, nor
/// goes on for pages.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    const MOST: usize = 1000;
    let cut = text.char_indices().nth(MOST).map_or(text, |(at, _)| text.get(..at).unwrap_or(text));
    let mut shown = if cut.contains(char::is_control) {
        let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        Cow::Owned(cut.chars().map(escaped).collect())
    } else {
        Cow::Borrowed(cut)
    };
    if cut.len() < text.len() {
        shown.to_mut().push('…');
    }
    shown
}

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
    let cut: String = text.chars().take(40).collect();
    let mut shown = plain(&cut).into_owned();
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

/// The Levenshtein distance, in which two letters that changed places count as one slip.
fn slips(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX - 1);
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut above_that: Vec<usize> = Vec::new();
    let mut last = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = at(&above, j) + usize::from(x != *y);
            let mut least = replaced.min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            if j > 0 && last == Some(*y) && b.get(j - 1) == Some(&x) {
                least = least.min(at(&above_that, j - 1) + 1);
            }
            row.push(least);
        }
        above_that = std::mem::replace(&mut above, row);
        last = Some(x);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant() {
        assert_eq!(nearest("mgs", ["image", "msg"]), Some("msg"));
        assert_eq!(nearest("actoin", ["actor", "action"]), Some("action"));
        assert_eq!(nearest("sned_message", ["install", "send_message"]), Some("send_message"));
        assert_eq!(nearest("Install", ["install"]), Some("install"));
        assert_eq!(nearest("x", ["y"]), None);
    }
}
