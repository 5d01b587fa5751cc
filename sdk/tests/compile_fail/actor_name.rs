use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor(name = "my actor")]
impl Probe {}

fn main() {}
