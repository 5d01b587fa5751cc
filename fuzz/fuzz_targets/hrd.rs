//! `schema.hrd` and `actor.hrd`: any text is read or refused, and a schema survives its JSON.
#![no_main]

use ays_core::{hrd, schema::Schema};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(schema) = hrd::parse_schema("schema.hrd", text) {
        let json = serde_json::to_string(&schema).expect("a schema has a JSON form");
        let again: Schema = serde_json::from_str(&json).expect("what was checked once passes again");
        assert_eq!(again, schema);
        // A required field has no default that fits; all others have.
        if let Ok(data) = schema.complete(&serde_json::Map::new()) {
            schema.check(&data.into()).expect("defaults fit");
        }
    }
    let _ = hrd::parse_actor("actor.hrd", text);
});
