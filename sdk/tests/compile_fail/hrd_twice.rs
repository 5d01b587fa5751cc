use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor(config = "hrd/actor.hrd")]
impl Probe {
    #[action(recurring = "9s")]
    fn send_message(&self) {}
}

fn main() {}
