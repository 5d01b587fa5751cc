//! Commands: the entries of the Redis command queue.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    JsonText, ServiceKey,
    event::{Channel, NewEvent},
    job::{Cause, NewJob},
    name::check_action,
    problem::quote,
};

/// The largest entry that is taken unless the operator says otherwise, in bytes: 1 MiB.
pub const DEFAULT_LIMIT_BYTES: usize = 1 << 20;

/// How deep lists and objects may be nested in an entry. Readers of JSON commonly stop at 128.
const DEEPEST: usize = 100;

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `{"command": "event", "event": NAME, "args": ANY}`: an event is accepted.
    ///
    /// Beside what AYS wrote, an entry may carry `tags` (a list of texts) and a `secret`, for filters that ask for them.
    Event(NewEvent),
    /// `{"command": "execute", "service_key": KEY, "action": NAME, "args": ANY}`: an action runs on a service.
    /// `repo_path` and other members are left aside.
    Execute(NewJob),
}

/// Every member that a command may have, as it stands in the entry.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    command: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    event: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    args: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    service_key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    action: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    tags: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    secret: Option<&'a RawValue>,
}

/// So that `null` is not taken for a missing member.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads an entry of the command queue.
///
/// # Errors
/// Why it is not a command, for people: it goes to the dead-letter list with the entry.
pub fn parse(entry: &[u8], limit_bytes: usize) -> Result<Command, String> {
    if entry.len() > limit_bytes {
        return Err(format!("the entry has {} bytes; {limit_bytes} are the most", entry.len()));
    }
    let text = std::str::from_utf8(entry).map_err(|error| {
        format!(
            "the entry is not UTF-8 at byte {}; a JSON object in UTF-8 would be right",
            error.valid_up_to() + 1
        )
    })?;
    let body = text.trim_start();
    if body.is_empty() {
        return Err("the entry is empty; a JSON object would be right".into());
    }
    // Deserialising a struct takes a list for one, too.
    if !body.starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
        return Err(format!("the entry {}; an object, as {EXAMPLE}, would be right", what_is(body)));
    }
    check_depth(text)?;
    let entry: Entry<'_> = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            format!("the entry has a {error}; each member once would be right")
        } else {
            format!("the entry is not JSON: {error}; {EXAMPLE}, say, would be right")
        }
    })?;
    let Some(command) = entry.command else {
        return Err(format!("the entry has no `command`; {EXAMPLE}, say, would be right"));
    };
    match text_of("command", command)?.as_ref() {
        "event" => event(&entry).map(Command::Event),
        "execute" => execute(&entry).map(Command::Execute),
        "run" => Err("`run` names a run that is stored already, but here a run is started when it is created; to start \
                      one, use `ays-host run ACTION` or POST /api/v1/run"
            .into()),
        other => Err(format!("{} is not a command; the commands are event and execute", quote(other))),
    }
}

const EXAMPLE: &str = r#"{"command": "event", "event": "new_msg_sent", "args": ["hello"]}"#;

fn event(entry: &Entry<'_>) -> Result<NewEvent, String> {
    let Some(name) = entry.event else {
        return Err(format!(
            "the command `event` has no `event`; the event's name, as in {EXAMPLE}, would be right"
        ));
    };
    let name = text_of("event", name)?.parse().map_err(|error| format!("`event`: {error}"))?;
    let mut event = NewEvent::new(name, args(entry)?);
    event.channel = Channel("queue".into());
    if let Some(tags) = entry.tags {
        event.tags = serde_json::from_str(tags.get())
            .map_err(|_| format!("`tags` {}; a list of texts would be right", what_is(tags.get())))?;
    }
    if let Some(secret) = entry.secret {
        event.secret = Some(text_of("secret", secret)?.into_owned());
    }
    Ok(event)
}

fn execute(entry: &Entry<'_>) -> Result<NewJob, String> {
    let missing = |member: &str| {
        format!("the command `execute` has no `{member}`; it takes service_key, action and args")
    };
    let key = text_of("service_key", entry.service_key.ok_or_else(|| missing("service_key"))?)?;
    let action = text_of("action", entry.action.ok_or_else(|| missing("action"))?)?;
    if let Err(e) = check_action(&action) {
        return Err(format!("`action`: {e}"));
    }
    // The original wrote `actor!instance`.
    let key = if key.contains("__") { key } else { key.replacen('!', "__", 1).into() };
    let service: ServiceKey = key.parse().map_err(|error| format!("`service_key`: {error}"))?;
    let cause = Cause::Api { door: "queue".into() };
    Ok(NewJob { service, action: action.into_owned(), args: args(entry)?, cause, patch: None })
}

fn args(entry: &Entry<'_>) -> Result<JsonText, String> {
    match entry.args {
        None => Ok(JsonText::empty_list()),
        Some(args) => JsonText::of(args).map_err(|error| format!("`args`: {error}")),
    }
}

fn text_of<'a>(member: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, String> {
    let text = raw.get();
    // Nearly every text is without escapes, and then is there already.
    if let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'))
        && !inner.contains('\\')
    {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(text)
        .map(Cow::Owned)
        .map_err(|_| format!("`{member}` {}; a text would be right", what_is(text)))
}

/// What a JSON value is, by its first character.
fn what_is(json: &str) -> String {
    match json.trim_start().chars().next() {
        Some('{') => "is an object".into(),
        Some('[') => "is a list".into(),
        Some('"') => format!("is the text {}", quote(json.trim().trim_matches('"'))),
        _ => format!("is {}", quote(json.trim())),
    }
}

/// Whoever reads the args later may do so recursively.
fn check_depth(text: &str) -> Result<(), String> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(format!(
                        "the entry's lists and objects are nested deeper than {DEEPEST}, which is the most"
                    ));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
