use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor(memory = "64MB")]
impl Probe {}

fn main() {}
