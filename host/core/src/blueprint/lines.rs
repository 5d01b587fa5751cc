//! Finds the line of a key. The YAML library tells none once it has read a value, so this looks at the text's
//! indentation; where that is not conclusive, as within `{…}`, it settles for the line of what is around it.

use std::fmt::Write;

/// A part of the way to a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    Key(&'a str),
    /// From 0.
    Item(usize),
}

/// The way for messages: `eventfilters[0].action`.
pub(super) fn place(path: &[Part<'_>]) -> String {
    let mut place = String::new();
    for part in path {
        // Writing to a string cannot fail.
        let _ = match part {
            Part::Key(key) if place.is_empty() => write!(place, "{key}"),
            Part::Key(key) => write!(place, ".{key}"),
            Part::Item(nth) => write!(place, "[{nth}]"),
        };
    }
    place
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    indent: usize,
    content: &'a str,
}

/// The line of what this path leads to, or of the last part of it that was found; none if its beginning was not.
pub(super) fn find(text: &str, path: &[Part<'_>]) -> Option<usize> {
    let mut region: Vec<Line<'_>> = text
        .lines()
        .enumerate()
        .map(|(nth, raw)| {
            let content = raw.trim_start_matches(' ');
            Line { number: nth + 1, indent: raw.len() - content.len(), content }
        })
        .filter(|line| !line.content.trim().is_empty() && !line.content.starts_with('#'))
        .filter(|line| line.indent > 0 || !(line.content.starts_with("---") || line.content.starts_with('%')))
        .collect();
    let mut found = None;
    for (nth, part) in path.iter().enumerate() {
        let Some(indent) = region.first().map(|line| line.indent) else { break };
        let own = |line: &Line<'_>| line.indent == indent;
        let is_item =
            |line: &Line<'_>| own(line) && (line.content.starts_with("- ") || line.content.trim() == "-");
        match part {
            Part::Key(key) => {
                let mut hits = region
                    .iter()
                    .enumerate()
                    .filter(|(_, line)| own(line) && value_of(line.content, key).is_some());
                // Of a key that is there twice, the second is the mistake.
                let hit = if nth + 1 == path.len() { hits.next_back() } else { hits.next() };
                let Some((at, line)) = hit else { break };

                found = Some(line.number);
                let below = region.iter().skip(at + 1);
                // A list may stand as far out as its key.
                region = below.copied().take_while(|line| line.indent > indent || is_item(line)).collect();
            }
            Part::Item(wanted) => {
                let Some(at) = region
                    .iter()
                    .enumerate()
                    .filter(|(_, line)| is_item(line))
                    .nth(*wanted)
                    .map(|(at, _)| at)
                else {
                    break;
                };
                let mut item: Vec<Line<'_>> = region
                    .iter()
                    .enumerate()
                    .filter(|(i, line)| *i == at || (*i > at && line.indent > indent))
                    .map(|(_, line)| *line)
                    .collect();
                let end = region.iter().skip(at + 1).take_while(|line| line.indent > indent).count() + 1;
                item.truncate(end);
                if let Some(first) = item.first_mut() {
                    found = Some(first.number);
                    let rest = first.content.strip_prefix('-').unwrap_or(first.content);
                    let content = rest.trim_start();
                    first.indent += 1 + rest.len() - content.len();
                    first.content = content;
                    if content.is_empty() {
                        item.remove(0);
                    }
                }
                region = item;
            }
        }
    }
    found
}

/// What follows `key:`, if the line begins with it.
fn value_of<'a>(content: &'a str, key: &str) -> Option<&'a str> {
    let plain = content.strip_prefix(key);
    let quoted = || content.strip_prefix(['\'', '"'])?.strip_prefix(key)?.strip_prefix(['\'', '"']);
    let value = plain.or_else(quoted)?.trim_start().strip_prefix(':')?;
    (value.is_empty() || value.starts_with(char::is_whitespace)).then_some(value)
}
