//! Entries of the command queue.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use ays_core::command::{Command, DEFAULT_LIMIT_BYTES, parse};

fn read(entry: &str) -> Result<Command, String> {
    parse(entry.as_bytes(), DEFAULT_LIMIT_BYTES)
}

#[test]
fn what_ays_programs_write_is_read() {
    for (entry, event, args) in [
        (
            r#"{"command": "event", "event": "new_msg_sent", "args": ["hello prince"]}"#,
            "new_msg_sent",
            r#"["hello prince"]"#,
        ),
        (r#"{"command":"event","event":"producer_installed","args":[""]}"#, "producer_installed", r#"[""]"#),
        (r#"{"event":"X","command":"event"}"#, "X", "[]"),
        (
            "\n {\"command\":\"ev\\u0065nt\",\"event\":\"caf\\u00e9\",\"args\":{\"a\":null},\"more\":[{}]} \n",
            "café",
            r#"{"a":null}"#,
        ),
        (r#"{"command":"event","event":"x","args":null}"#, "x", "null"),
    ] {
        let Ok(Command::Event(read)) = read(entry) else { panic!("{entry}") };
        assert_eq!((read.name.as_str(), read.args.as_str(), read.channel.0.as_str()), (event, args, "queue"));
    }
    let Ok(Command::Event(tagged)) =
        read(r#"{"command":"event","event":"x","tags":["a","b"],"secret":"s3"}"#)
    else {
        panic!()
    };
    assert_eq!((tagged.tags.len(), tagged.secret.as_deref()), (2, Some("s3")));
    for key in ["actproducer__p1", "actproducer!p1"] {
        let entry = format!(
            r#"{{"command":"execute","repo_path":"/r","service_key":"{key}","action":"install","args":{{"a":1}}}}"#
        );
        let Ok(Command::Execute(job)) = read(&entry) else { panic!("{entry}") };
        assert_eq!(
            (job.service.as_str(), job.action.as_str(), job.args.as_str()),
            ("actproducer__p1", "install", r#"{"a":1}"#)
        );
        assert_eq!(serde_json::to_string(&job.cause).unwrap(), r#"{"kind":"api","door":"queue"}"#);
    }
}

#[test]
fn what_is_no_command_has_a_reason_that_says_what_would_be_right() {
    let example = r#"{"command": "event", "event": "new_msg_sent", "args": ["hello"]}"#;
    let deep =
        format!(r#"{{"command":"event","event":"x","args":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    for (entry, reason) in [
        ("", "the entry is empty; a JSON object would be right".to_owned()),
        (
            "hello",
            format!("the entry is not JSON: expected value at line 1 column 1; {example}, say, would be right"),
        ),
        (
            r#"{"command":"event","#,
            format!("the entry is not JSON: EOF while parsing a value at line 1 column 19; {example}, say, would be right"),
        ),
        (
            r#"{"command":"event","event":"x"} {}"#,
            format!("the entry is not JSON: trailing characters at line 1 column 33; {example}, say, would be right"),
        ),
        ("[1]", format!("the entry is a list; an object, as {example}, would be right")),
        ("\"x\"", format!("the entry is the text `x`; an object, as {example}, would be right")),
        ("5", format!("the entry is `5`; an object, as {example}, would be right")),
        ("{}", format!("the entry has no `command`; {example}, say, would be right")),
        (r#"{"command":5}"#, "`command` is `5`; a text would be right".into()),
        (r#"{"command":"evnt"}"#, "`evnt` is not a command; the commands are event and execute".into()),
        (
            r#"{"command":"run","run_key":"k"}"#,
            "`run` names a run that is stored already, but here a run is started when it is created; to start one, use \
             `ays-host run ACTION` or POST /api/v1/run"
                .into(),
        ),
        (r#"{"command":"event","event":5}"#, "`event` is `5`; a text would be right".into()),
        (r#"{"command":"event","event":null}"#, "`event` is `null`; a text would be right".into()),
        (r#"{"command":"event","event":["x"]}"#, "`event` is a list; a text would be right".into()),
        (r#"{"command":"event","event":" "}"#, "`event`: the event's name is empty".into()),
        (
            r#"{"command":"event","args":[]}"#,
            format!("the command `event` has no `event`; the event's name, as in {example}, would be right"),
        ),
        (r#"{"command":"event","event":"x","tags":"a"}"#, "`tags` is the text `a`; a list of texts would be right".into()),
        (
            r#"{"command":"event","command":"event"}"#,
            "the entry has a duplicate field `command` at line 1 column 28; each member once would be right".into(),
        ),
        (
            r#"{"command":"execute","action":"a"}"#,
            "the command `execute` has no `service_key`; it takes service_key, action and args".into(),
        ),
        (
            r#"{"command":"execute","action":"a","service_key":"p1"}"#,
            "`service_key`: `p1` is not a service's key; it has the form actor__instance".into(),
        ),
        (
            r#"{"command":"execute","action":"","service_key":"a__p1"}"#,
            "`action`: the action name is empty; it takes letters, digits, `-`, `_` and `.`".into(),
        ),
        (&deep, "the entry's lists and objects are nested deeper than 100, which is the most".into()),
    ] {
        assert_eq!(read(entry).unwrap_err(), reason, "{:.80}", entry);
    }
    assert_eq!(
        parse(b"{\"command\":\"\xff\"}", 100).unwrap_err(),
        "the entry is not UTF-8 at byte 13; a JSON object in UTF-8 would be right"
    );
    assert_eq!(parse(&[b' '; 11], 10).unwrap_err(), "the entry has 11 bytes; 10 are the most");
}
