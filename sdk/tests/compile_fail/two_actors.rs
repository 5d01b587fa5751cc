use ays_sdk::prelude::*;

mod one {
    use ays_sdk::prelude::*;

    #[derive(Schema)]
    struct One;

    #[actor]
    impl One {}
}

#[derive(Schema)]
struct Two;

#[actor]
impl Two {}

fn main() {}
