use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor]
impl Probe {
    #[on(event = "ping")]
    fn no_action(&self) {}

    #[action]
    #[on]
    fn which_event(&self) {}

    #[action]
    #[on(channel = "email")]
    fn only_channel(&self) {}

    #[action]
    #[on(event = "")]
    fn empty(&self) {}

    #[action]
    #[on(event = "ping")]
    #[on(event = "PING")]
    fn same_twice(&self) {}

    #[action]
    #[on(topic = "ping")]
    fn unknown_option(&self) {}
}

fn main() {}
