use ays_sdk::prelude::*;

#[actor(schema = "hrd/nowhere.hrd")]
impl Probe {
    #[action]
    fn noop(&self) {}
}

fn main() {}
