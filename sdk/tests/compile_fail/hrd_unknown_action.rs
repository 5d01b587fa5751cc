use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor(config = "hrd/actor.hrd")]
impl Probe {
    #[action]
    fn install(&self) {}
}

fn main() {}
