//! Manifests: any text is a manifest or has a reason, and what is one has limits below every ceiling.
#![no_main]

use ays_core::manifest::{LimitPolicy, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match serde_json::from_str::<Manifest>(text) {
        Ok(manifest) => {
            let policy = LimitPolicy::default();
            let limits = manifest.actions.iter().map(|action| policy.of_action(&manifest, action));
            for limits in limits.chain([policy.of(&manifest)]) {
                for ((name, _, amount), (.., most)) in limits.each().zip(policy.ceiling.each()) {
                    assert!(amount <= most, "{name}");
                }
            }
            let json = serde_json::to_string(&manifest).expect("a manifest has a JSON form");
            serde_json::from_str::<Manifest>(&json).expect("what was read once is read again");
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
});
