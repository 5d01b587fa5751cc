use ays_sdk::prelude::*;

struct Opaque;

#[derive(Schema)]
struct Probe;

#[actor]
impl Probe {
    #[action]
    fn takes_what_json_cannot_say(&self, what: Opaque) {}
}

fn main() {}
