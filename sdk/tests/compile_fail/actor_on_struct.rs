use ays_sdk::prelude::*;

#[actor]
#[derive(Schema)]
struct Probe;

fn main() {}
