//! An actor with the life cycle of AYS. Its actions log that they ran, and add their names to the data's notes, so that
//! a test sees what ran and in which order.

use ays_sdk::prelude::*;

#[actor(schema = "schema.hrd", config = "actor.hrd")]
impl Node {
    /// Prepares the node's data.
    #[action]
    fn init(&mut self) {
        self.ran("init");
    }

    /// Sets the node up.
    #[action]
    fn install(&mut self) {
        self.ran("install");
    }

    /// Takes it down.
    #[action]
    fn uninstall(&mut self) {
        self.ran("uninstall");
    }

    /// Starts it.
    #[action]
    fn start(&mut self) {
        self.ran("start");
    }

    /// Stops it.
    #[action]
    fn stop(&mut self) {
        self.ran("stop");
    }

    /// Looks after it: returns its load.
    #[action]
    fn monitor(&self) -> f64 {
        log::debug!("{} is at {}", self.hostname, self.load);
        self.load
    }

    /// Writes down what a blueprint changed, and returns it.
    #[action(name = "processChange")]
    fn process_change(&mut self, job: &Job) -> Result<Value> {
        self.ran("processChange");
        let changes = job.args_json();
        log::info!("changed: {changes}");
        self.notes.push_str(changes);
        self.notes.push('\n');
        job.args()
    }

    fn ran(&mut self, action: &str) {
        println!("{action} {}", self.hostname);
        self.notes.push_str(action);
        self.notes.push('\n');
    }
}
