//! Entries of the command queue: any bytes are a command or have a reason, and args are JSON.
#![no_main]

use ays_core::{
    JsonText,
    command::{self, Command},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|entry: &[u8]| {
    match command::parse(entry, 4096) {
        Ok(Command::Event(event)) => drop(JsonText::parse(event.args.as_str()).expect("args are JSON")),
        Ok(Command::Execute(job)) => drop(JsonText::parse(job.args.as_str()).expect("args are JSON")),
        Err(reason) => assert!(!reason.is_empty()),
    }
});
