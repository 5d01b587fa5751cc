use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor(instance = "warm")]
impl Probe {}

fn main() {}
