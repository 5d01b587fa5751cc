//! Schemas, from `schema.hrd` and from a manifest, and what fits them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::{fs, path::Path};

use ays_core::{
    hrd::{parse_actor, parse_schema},
    manifest::Manifest,
    schedule::Missed,
    schema::Schema,
};
use serde_json::{Value, json};

fn node() -> Schema {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/node/schema.hrd");
    parse_schema("schema.hrd", &fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_type_has_its_default() {
    assert_eq!(
        Value::Object(node().defaults()),
        json!({
            "hostname": "localhost", "cores": 2, "load": 0.5, "enabled": false,
            "notes": "first line\\nsecond line", "admin": "", "phone": "", "address": "127.0.0.1",
            "network": "10.0.0.0/24", "port": 22, "since": "", "patience": "30s", "uuid": "",
            "home": "/var/lib/node", "labels": {}, "groups": ["users", "staff"], "extra": null,
            "options": {"verbose": false}, "dns": [], "disk": "ssd", "roles": [],
        })
    );
    assert_eq!(
        Value::Object(node().complete(&serde_json::Map::new()).unwrap()),
        Value::Object(node().defaults())
    );
}

#[test]
fn values_change_only_where_yaml_plainly_means_it() {
    let given = json!({
        "ip": "10.0.0.7", "load": 1, "enabled": "yes", "patience": 90, "since": "2026-01-31", "extra": [1, {"a": "b"}],
        "cores": null, "roles": ["web"], "peers": ["n1", 2], "zone": "z",
    });
    let read = node().accept(given.as_object().unwrap()).unwrap();
    assert_eq!(
        Value::Object(read.values),
        json!({
            "address": "10.0.0.7", "load": 1.0, "enabled": true, "patience": "90s", "since": "2026-01-31",
            "extra": [1, {"a": "b"}], "roles": ["web"],
        })
    );
    assert_eq!(json!(read.links), json!({"peers": ["n1", "2"], "zone": ["z"]}));
}

#[test]
fn what_an_action_writes_must_fit() {
    let schema = node();
    schema.check(&Value::Object(schema.defaults())).unwrap();
    for (data, reason) in [
        (json!([]), "the data is a list; an object would be right"),
        (json!({"cores": 0}), "cores: is 0; 1 to 256 would be right"),
        (json!({"cores": 2.5}), "cores: is 2.5; a whole number would be right"),
        (json!({"enabled": "yes"}), "enabled: is the text `yes`; true or false would be right"),
        (json!({"zone": "z1"}), "zone: names services and is no data; only a blueprint changes it"),
        (
            json!({"disk": "ssd\u{1b}[31m"}),
            "disk: is the text `ssd\\u{1b}[31m`; one of ssd, hdd, nvme would be right",
        ),
    ] {
        assert_eq!(schema.check(&data).unwrap_err(), reason);
    }
    let unknown = schema.check(&json!({"cpus": 2})).unwrap_err();
    assert!(
        unknown.starts_with("cpus: is not a field of the actor's schema; the fields are hostname, "),
        "{unknown}"
    );
}

#[test]
fn a_schema_survives_its_json() {
    let text = serde_json::to_string(&node()).unwrap();
    assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), node());
    let seed = parse_schema("schema.hrd", "msg = type:str default:'hello prince'").unwrap();
    assert_eq!(serde_json::to_value(&seed).unwrap(), json!([{"name": "msg", "default": "hello prince"}]));
}

#[test]
fn a_strangers_manifest_is_checked() {
    let read = |schema: Value| {
        let manifest =
            json!({"interface": "ays:actor@0.1.0", "name": "a", "actions": [], "schema": schema}).to_string();
        serde_json::from_str::<Manifest>(&manifest).map_err(|error| error.to_string())
    };
    read(json!([{"name": "msg", "type": "str", "default": "hello prince", "later": true}])).unwrap();
    for (schema, reason) in [
        (json!([{"name": "a", "regex": "["}]), "`[` is not a regular expression: unclosed character class"),
        (json!([{"name": "a", "regex": "(\\w{1,500}){1,500}"}]), "it takes too much memory"),
        (json!([{"name": "a", "regex": "(".repeat(500)}]), "is not a regular expression"),
        (
            json!([{"name": "a", "type": "int", "default": "x"}]),
            "schema: a: its default is the text `x`; a whole number",
        ),
        (json!([{"name": "a"}, {"name": "a"}]), "schema: a: its name `a` is there already"),
        (json!([{"name": "a b"}]), "schema: a b: `a b` is not a field's name"),
        (json!([{"name": "a", "type": "number"}]), "unknown variant `number`, expected one of `str`"),
        (Value::Array(vec![json!({"name": "a"}); 300]), "schema: there are more than 256 fields"),
    ] {
        let error = read(schema).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn an_optional_field_may_be_empty_whatever_its_constraints_and_others_may_not() {
    let schema =
        parse_schema("s", "a = type:int minval:5 optional\nb = type:str regex:'x+'\nc = type:str").unwrap();
    let complete = |given: Value| schema.complete(given.as_object().unwrap());
    assert_eq!(Value::Object(complete(json!({"b": "xx"})).unwrap()), json!({"a": 0, "b": "xx", "c": ""}));
    let wrong = complete(json!({})).unwrap_err();
    assert_eq!(
        wrong[0].to_string(),
        "b: is missing, and has no default; a text that matches `x+` would be right"
    );
    assert!(complete(json!({"a": 4, "b": "x"})).is_err());
    assert!(complete(json!({"b": "yxy"})).is_err(), "the whole text must match");
}

#[test]
fn the_seeds_actor_hrd_is_read_in_all_the_forms_people_write() {
    for text in [
        "recurring.send_message =\n  period: '5s',\n  log: True\n",
        "recurring.send_message =\r\n    log:'1',\r\n    period:\"5s\",\r\n",
        "# c\n\nrecurring.send_message = period: 5s, log: yes   # c\ndescription = 'it''s #1'\nlinks.a = 'http://x/#y'\n",
        "recurring.send_message=period:'5s'",
    ] {
        let config = parse_actor("actor.hrd", text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        let recurring = &config.recurring["send_message"];
        assert_eq!(
            (recurring.period.to_string().as_str(), recurring.log, recurring.missed),
            ("5s", true, Missed::One)
        );
    }
    let cron = parse_actor(
        "a",
        "recurring.a =\n period: CRON_TZ=Europe/Brussels 0,30 3 * * *, missed: all, log: False",
    )
    .unwrap();
    let recurring = &cron.recurring["a"];
    assert_eq!(recurring.period.to_string(), "CRON_TZ=Europe/Brussels 0,30 3 * * *");
    assert_eq!((recurring.missed, recurring.log), (Missed::All, false));
}

#[test]
fn data_of_another_schema_keep_what_fits_and_get_the_defaults_of_what_is_new() {
    let schema: Schema = serde_json::from_value(json!([
        {"name": "host", "alias": ["hostname"]},
        {"name": "load", "type": "float"},
        {"name": "port", "type": "int", "default": 22, "minval": 1},
        {"name": "owner", "regex": "[a-z]+"},
        {"name": "node", "parent": "node"},
    ]))
    .unwrap();
    let adapt = |data: Value| schema.adapt(data.as_object().unwrap().clone());
    let adapted =
        adapt(json!({"hostname": "a", "load": 1, "owner": "ada", "node": "n", "old": [1]})).unwrap();
    assert_eq!(
        Value::Object(adapted.data.clone()),
        json!({"host": "a", "load": 1.0, "port": 22, "owner": "ada"})
    );
    assert_eq!(adapted.dropped, ["node", "old"]);
    assert_eq!(schema.adapt(adapted.data.clone()).unwrap().data, adapted.data, "what fits stays as it is");
    for (data, told) in [
        (json!({"owner": "ada", "port": 0}), "port: is 0; 1 or more would be right"),
        (json!({"owner": "ada", "load": "high"}), "load: is the text `high`; a number would be right"),
        (json!({}), "owner: is missing, and has no default; a text that matches `[a-z]+` would be right"),
    ] {
        let wrong = adapt(data).unwrap_err();
        assert_eq!(wrong.iter().map(ToString::to_string).collect::<Vec<_>>(), [told]);
    }
    let same: Schema = serde_json::from_str(&serde_json::to_string(&schema).unwrap()).unwrap();
    assert_eq!(same.id(1), schema.id(1));
    assert_ne!(schema.id(2), schema.id(1));
    assert_ne!(Schema::default().id(1), schema.id(1));
}
