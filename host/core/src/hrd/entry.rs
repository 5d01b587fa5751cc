//! What both files are made of: entries, and words that may be quoted.

use crate::problem::{Problem, quote};

/// The longest file, in bytes.
const LONGEST: usize = 1 << 20;

/// `key = value`, the value perhaps over several lines.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    /// Where the key is, from 1.
    pub(super) line: usize,
    /// The value's lines without comments and blanks around them, each with its number. None is empty.
    pub(super) value: Vec<(usize, &'a str)>,
}

/// The entries of a file, and what could not be read as one.
pub(super) fn entries<'a>(file: &str, text: &'a str) -> (Vec<Entry<'a>>, Vec<Problem>) {
    if text.len() > LONGEST {
        let what = format!("has {} bytes", text.len());
        return (Vec::new(), vec![Problem::new(file, what, format!("at most {LONGEST} would be right"))]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries: Vec<Entry<'a>> = Vec::new();
    let mut problems = Vec::new();
    // Whether indented lines belong to something that was wrong already.
    let mut skipping = false;
    for (line, raw) in text.lines().enumerate().map(|(nth, raw)| (nth + 1, raw)) {
        let content = uncommented(raw).trim();
        if content.is_empty() {
            continue;
        }
        let indented = raw.starts_with([' ', '\t']);
        let parts = content.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        match parts {
            Some((key, value)) if is_key(key) => {
                let value = if value.is_empty() { Vec::new() } else { vec![(line, value)] };
                entries.push(Entry { key, line, value });
                skipping = false;
            }
            _ if indented && skipping => {}
            _ if indented && !entries.is_empty() => {
                if let Some(entry) = entries.last_mut() {
                    entry.value.push((line, content));
                }
            }
            Some((key, _)) => {
                let what = if key.is_empty() {
                    "has nothing before the `=`".to_owned()
                } else {
                    format!("{} is not a name", quote(key))
                };
                let right = "a name of letters, digits, `_`, `-` and `.` before the `=` would be right";
                problems.push(Problem::new(file, what, right).on_line(line));
                skipping = true;
            }
            None => {
                let what = format!("{} has no `=`", quote(content));
                problems.push(Problem::new(file, what, "`name = …` would be right").on_line(line));
                skipping = true;
            }
        }
    }
    (entries, problems)
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= 256 && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// The line without its comment: from a `#` outside of quotes, at the beginning or after a blank.
fn uncommented(line: &str) -> &str {
    let mut quoted = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quoted {
            Some(mark) if c == mark && before != '\\' => quoted = None,
            Some(_) => {}
            // An apostrophe within a word, as in a description, quotes nothing.
            None if (c == '\'' || c == '"') && !before.is_alphanumeric() => quoted = Some(c),
            None if c == '#' && before.is_whitespace() => return line.get(..at).unwrap_or(line),
            None => {}
        }
        before = c;
    }
    line
}

/// Takes a quoted text off the front: the text, and what follows. None if its quote does not end.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.char_indices();
    let (_, mark) = chars.next()?;
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in chars {
        match c {
            '\\' if !escaped => escaped = true,
            c if c == mark && !escaped => return Some((value, text.get(at + c.len_utf8()..)?)),
            c => {
                // `\d` of a regular expression stays as it is; only quotes and backslashes need one before them.
                if escaped && c != mark {
                    value.push('\\');
                }
                if !(escaped && c == '\\') {
                    value.push(c);
                }
                escaped = false;
            }
        }
    }
    None
}

/// Whether the text begins with a quote.
pub(super) fn is_quoted(text: &str) -> bool {
    text.starts_with(['\'', '"'])
}
