//! The actor that asks for what capabilities there are.

use serde_json::Value;

use crate::{
    actors::courier,
    host::{Host, Start},
};

/// A host with a courier, `courier__c`, that is granted this and nothing else.
pub fn granted(grants: &[String]) -> Start {
    let grants: String = grants.iter().map(|grant| format!("    - {grant}\n")).collect();
    Start::new(courier())
        .blueprint(&format!("courier__c:\ngrants:\n  courier:\n{grants}    - nothing else\n"))
}

/// Runs an action on `courier__c`, and returns its job once it has been tried.
pub fn run(host: &Host, action: &str, args: &Value) -> Value {
    host.run("courier__c", action, args)
}
