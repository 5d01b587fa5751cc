//! `actor.hrd`: recurring actions.

use std::collections::BTreeMap;

use super::entry::{Entry, entries, is_quoted, quoted};
use crate::{
    problem::{MOST_PROBLEMS, Problem, nearest, quote},
    schedule::{Missed, Period, Recurring},
};

/// What an `actor.hrd` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActorConfig {
    /// The recurring actions: how each recurs, by its name.
    pub recurring: BTreeMap<String, Recurring>,
}

/// First parts of keys that the original knew and that mean nothing here: they are read and left aside.
const IGNORED: [&str; 18] = [
    "active",
    "autosave",
    "dbtype",
    "dependencies",
    "descr",
    "description",
    "docsite",
    "domain",
    "env",
    "instance",
    "links",
    "name",
    "order",
    "platform",
    "prefab",
    "priority",
    "process",
    "version",
];

/// Reads an `actor.hrd`. `file` is its name, for messages.
///
/// ```text
/// recurring.send_message =
///   period: '5s',
///   log: True
/// ```
///
/// A recurring action may also stand on one line, and say `missed: one`, `skip` or `all` (what becomes of missed
/// occurrences), which the original did not know.
///
/// # Errors
/// All mistakes in it, each with its line.
pub fn parse_actor(file: &str, text: &str) -> Result<ActorConfig, Vec<Problem>> {
    let (entries, mut problems) = entries(file, text);
    let mut config = ActorConfig::default();
    for entry in &entries {
        let (first, rest) = entry.key.split_once('.').unwrap_or((entry.key, ""));
        if first == "recurring" {
            if let Some(recurring) = read_recurring(file, entry, rest, &mut problems)
                && config.recurring.insert(rest.into(), recurring).is_some()
            {
                let problem =
                    Problem::new(file, "is there twice", "each recurring action once would be right");
                problems.push(problem.at(entry.key).on_line(entry.line));
            }
        } else if !IGNORED.contains(&first) {
            let right = match nearest(first, ["recurring"]) {
                Some(meant) => format!("did you mean `{meant}.ACTION`?"),
                None => format!(
                    "the keys are recurring.ACTION, and, without a meaning here, {}",
                    IGNORED.join(", ")
                ),
            };
            let what = "is not a key of an actor.hrd";
            problems.push(Problem::new(file, what, right).at(entry.key).on_line(entry.line));
        }
    }
    problems.sort_by_key(|problem| problem.line);
    problems.truncate(MOST_PROBLEMS);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

const MEMBERS: [&str; 3] = ["period", "log", "missed"];

fn read_recurring(
    file: &str,
    entry: &Entry<'_>,
    action: &str,
    problems: &mut Vec<Problem>,
) -> Option<Recurring> {
    let before = problems.len();
    let mut report = |line: usize, place: &str, what: String, right: String| {
        problems.push(Problem::new(file, what, right).at(place).on_line(line));
    };
    if action.is_empty() || action.contains('.') {
        report(
            entry.line,
            entry.key,
            "names no action".into(),
            "`recurring.send_message =` would be right".into(),
        );
    }
    let (mut period, mut log, mut missed) = (None, None, None);
    for &(line, text) in &entry.value {
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if rest.is_empty() {
                break;
            }
            let Some((member, value, after)) = read_member(rest) else {
                let open = rest.split_once(':').is_some_and(|(_, value)| is_quoted(value.trim_start()));
                let (what, right) = if open {
                    (
                        "has a quote that does not end",
                        "a second quote of the same kind on this line would be right",
                    )
                } else {
                    ("is not a member with a value", "`period: '5s', log: True` would be right")
                };
                report(line, entry.key, format!("{} {what}", quote(rest)), right.into());
                break;
            };
            rest = after;
            let place = format!("{}.{member}", entry.key);
            let twice = match member {
                "period" => match value.parse::<Period>() {
                    Ok(value) => period.replace(value).is_some(),
                    Err(error) => {
                        report(line, &place, error.to_string(), String::new());
                        false
                    }
                },
                "log" => match value.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "on" | "1" => log.replace(true).is_some(),
                    "false" | "no" | "off" | "0" => log.replace(false).is_some(),
                    _ => {
                        report(
                            line,
                            &place,
                            format!("is {}", quote(&value)),
                            "True or False would be right".into(),
                        );
                        false
                    }
                },
                "missed" => match value.to_ascii_lowercase().as_str() {
                    "one" => missed.replace(Missed::One).is_some(),
                    "skip" => missed.replace(Missed::Skip).is_some(),
                    "all" => missed.replace(Missed::All).is_some(),
                    _ => {
                        report(
                            line,
                            &place,
                            format!("is {}", quote(&value)),
                            "one, skip or all would be right".into(),
                        );
                        false
                    }
                },
                other => {
                    let right = match nearest(other, MEMBERS) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("the members are {}", MEMBERS.join(", ")),
                    };
                    report(line, &place, "is not a member of a recurring action".into(), right);
                    false
                }
            };
            if twice {
                report(line, &place, "is there twice".into(), "each member once would be right".into());
            }
        }
    }
    if problems.len() > before {
        return None;
    }
    let Some(period) = period else {
        let problem = Problem::new(file, "has no period", "`period: '5s'` would be right");
        problems.push(problem.at(entry.key).on_line(entry.line));
        return None;
    };
    Some(Recurring { period, missed: missed.unwrap_or_default(), log: log.unwrap_or(true) })
}

/// Takes `member: value` off the front: the member, its value, and what follows.
fn read_member(text: &str) -> Option<(&str, String, &str)> {
    let (member, rest) = text.split_once(':')?;
    let (member, rest) = (member.trim(), rest.trim_start());
    if member.is_empty() || member.contains([' ', ',', '\'', '"']) {
        return None;
    }
    if is_quoted(rest) {
        let (value, rest) = quoted(rest)?;
        return Some((member, value, rest));
    }
    // An unquoted cron expression has commas and blanks in it; it ends where the next member begins.
    let end = rest
        .match_indices(',')
        .map(|(at, _)| at)
        .find(|at| {
            let after = rest.get(at + 1..).unwrap_or_default().trim_start();
            after.is_empty() || MEMBERS.iter().any(|member| after.starts_with(member))
        })
        .unwrap_or(rest.len());
    let (value, rest) = rest.split_at(end);
    Some((member, value.trim().to_owned(), rest))
}
