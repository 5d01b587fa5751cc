//! `interface log`.

use ays_core::job;

use crate::{
    bindings::ays::actor::log::{Host, Level},
    state::State,
};

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.call()?;
        let level = match level {
            Level::Debug => job::Level::Debug,
            Level::Info => job::Level::Info,
            Level::Warn => job::Level::Warn,
            Level::Error => job::Level::Error,
        };
        self.log.line(level, message)
    }
}
