use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor(capabilities = ["events", "htp GET https://example.com"])]
impl Probe {}

fn main() {}
