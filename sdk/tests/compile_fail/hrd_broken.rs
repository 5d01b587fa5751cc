use ays_sdk::prelude::*;

#[actor(schema = "hrd/broken_schema.hrd", config = "hrd/broken_actor.hrd")]
impl Probe {
    #[action]
    fn send_message(&self) {}
}

fn main() {}
