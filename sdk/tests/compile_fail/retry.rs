use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor]
impl Probe {
    #[action(retry(attempts = 0))]
    fn zero_attempts(&self) {}

    #[action(retry = 3)]
    fn no_list(&self) {}

    #[action(retry(times = 3))]
    fn unknown(&self) {}

    #[action(retry(delays = 10))]
    fn delay_without_list(&self) {}

    #[action(retry(delays = ["soon"]))]
    fn bad_delay(&self) {}

    #[action(retry(delays = [1], first = "1s"))]
    fn both_kinds(&self) {}
}

fn main() {}
