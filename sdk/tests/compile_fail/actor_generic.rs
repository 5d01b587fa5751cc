use ays_sdk::prelude::*;

struct Probe<T>(T);

#[actor]
impl<T> Probe<T> {
    #[action]
    fn noop(&self) {}
}

fn main() {}
