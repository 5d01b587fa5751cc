//! How fast events are handled out of Redis, and what it costs: ays-host beside a plain loop and two job queues.
//!
//! One event is one job for one of 100 services, which adds one to the service's state; the job's record is kept. All
//! contestants work on the same machine in turn, each on a fresh Redis on 127.0.0.1, for several rounds. What counts are
//! the ratios: the figures themselves say how busy the machine was.
//!
//! `just bench-redis` runs it. The job queues need node and npm; without them their rows say so. Set
//! `AYS_BENCH_EVENTS`, `AYS_BENCH_ROUNDS` and `AYS_BENCH_SECONDS` for a longer or shorter run, `AYS_BENCH_ONLY` to what
//! the name of a contestant begins with (several with `,`), `AYS_BENCH_REDIS` to options of redis-server.
//! Each measurement is one line of JSON in `target/bench/redis_rivals.json`.

#[path = "rivals/mod.rs"]
mod rivals;

use std::path::Path;

use rivals::{contest, plain};

fn main() {
    // The plain loop is a process of its own, as the others are, so that its CPU time can be told apart: this one, again.
    if let Some(task) = plain::Task::of_this_process() {
        return task.run();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    contest::run(&contest::Settings::from_environment(), &target.join("bench"));
}
