use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor(colour = "red")]
impl Probe {}

fn main() {}
