use ays_sdk::prelude::*;

struct Opaque;

#[derive(Schema)]
struct Probe;

#[actor]
impl Probe {
    #[action]
    fn plain(&self) -> Opaque {
        Opaque
    }

    #[action]
    fn result(&self) -> Result<Opaque> {
        Ok(Opaque)
    }

    #[action]
    fn error(&self) -> Result<(), Opaque> {
        Ok(())
    }
}

fn main() {}
