use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor(memory = "64MB", colour = "red")]
impl Probe {}

fn main() {}
