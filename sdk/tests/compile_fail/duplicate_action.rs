use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor]
impl Probe {
    #[action]
    fn install(&self) {}

    #[action(name = "install")]
    fn install_again(&self) {}
}

fn main() {}
