use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe {
    msg: String,
}

fn main() {}
