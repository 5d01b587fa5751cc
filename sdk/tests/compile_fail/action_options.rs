use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor]
impl Probe {
    #[action(recurring = "5 parsecs")]
    fn bad_period(&self) {}

    #[action(recuring = "5s")]
    fn unknown_option(&self) {}

    #[action(recurring = 5)]
    fn period_without_quotes(&self) {}

    #[action(recurring = "5s", missed = "never")]
    fn bad_missed(&self) {}

    #[action(missed = "all")]
    fn missed_without_period(&self) {}

    #[action(order = "random")]
    fn bad_order(&self) {}

    #[action(cpu = "0s")]
    fn no_time(&self) {}

    #[action(memory = "64MB")]
    fn bad_size(&self) {}

    #[action(events = 0)]
    fn no_events(&self) {}

    #[action(name = "with blanks")]
    fn bad_name(&self) {}

    #[action]
    #[action]
    fn twice(&self) {}
}

fn main() {}
