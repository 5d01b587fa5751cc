//! Blueprints: any text is read and planned, or refused; a plan's new data fits the schema.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use ays_core::{
    blueprint::{self, Current},
    hrd,
    manifest::Manifest,
};
use libfuzzer_sys::fuzz_target;

static ACTORS: LazyLock<BTreeMap<String, Manifest>> = LazyLock::new(|| {
    let actor = |name: &str, schema: &str, actions: &[&str]| {
        let schema = hrd::parse_schema("schema.hrd", schema).expect("the schema is right");
        let actions: Vec<_> = actions.iter().map(|name| serde_json::json!({ "name": name })).collect();
        let manifest =
            serde_json::json!({"interface": "", "name": name, "actions": actions, "schema": schema});
        (name.to_owned(), serde_json::from_value(manifest).expect("the manifest is right"))
    };
    let consumer = ["init", "on_producer_installed1", "on_producer_installed2", "on_new_msg_sent"];
    let node = ["init", "install", "uninstall", "start", "stop", "monitor", "processChange"];
    [
        actor("actproducer", "msg = type:str default:'hello prince'", &["install", "send_message"]),
        actor("actconsumer", "", &consumer),
        actor("node", include_str!("../../tests/guests/node/schema.hrd"), &node),
    ]
    .into()
});

fuzz_target!(|text: &str| {
    // A file that cannot be read is planned as far as it can be, and refused.
    let read = blueprint::read("b.yaml", text);
    let planned = blueprint::plan_files([("b.yaml", text)], &ACTORS, &Current::default());
    assert!(read.is_ok() || planned.is_err());
    match planned {
        Ok(plan) => {
            for service in plan.changes.create {
                let schema = &ACTORS[service.key.actor()].schema;
                schema.check(&service.data.value()).expect("what was accepted fits");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(|problem| assert_eq!(problem.to_string().lines().count(), 1));
        }
    }
});
