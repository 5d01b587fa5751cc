//! The consumer of the events example: prints the events of the producer.

use ays_sdk::prelude::*;

#[derive(Schema)]
struct Consumer;

#[actor]
impl Consumer {
    /// Subscribes to the producer's events. Without it the blueprint has to: see `eventfilters` in the examples.
    #[cfg(feature = "init")]
    #[action]
    fn init(&self) -> Result<()> {
        let handlers = [
            ("producer_installed", "on_producer_installed1"),
            ("producer_installed", "on_producer_installed2"),
            ("new_msg_sent", "on_new_msg_sent"),
        ];
        for handler in handlers {
            events::set_filter(handler)?;
        }
        Ok(())
    }

    /// The first to hear that the producer was installed.
    #[action]
    fn on_producer_installed1(&self, job: &Job) {
        println!("first handler::: was able to install the producer ... yay!!:  {}", job.args_json());
    }

    /// The second to hear that the producer was installed.
    #[action]
    fn on_producer_installed2(&self, job: &Job) {
        println!("second handler::: was able to install the producer ... yay!!:  {}", job.args_json());
    }

    /// Prints a message of the producer.
    #[action]
    fn on_new_msg_sent(&self, job: &Job) {
        println!("Got new message:  {}", job.args_json());
    }
}
