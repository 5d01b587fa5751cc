use ays_sdk::prelude::*;

#[action]
fn lonely(job: &Job) {}

#[on(event = "ping")]
fn lonely_too(job: &Job) {}

fn main() {}
