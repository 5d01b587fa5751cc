use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor]
impl Clone for Probe {
    fn clone(&self) -> Self {
        Probe
    }
}

fn main() {}
