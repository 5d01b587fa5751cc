use ays_sdk::prelude::*;

struct Probe;

#[actor]
impl Probe {
    #[action]
    fn noop(&self) {}
}

fn main() {}
