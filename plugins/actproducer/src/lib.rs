//! The producer of the events example: says that it was installed, and sends a message every five seconds.

use ays_sdk::prelude::*;

#[actor(schema = "schema.hrd", config = "actor.hrd")]
impl Producer {
    /// Says that the producer is there.
    #[action]
    fn install(&self) -> Result<()> {
        println!("Done installing the producer");
        events::emit("producer_installed", [""])
    }

    /// Sends the message.
    #[action]
    fn send_message(&self) -> Result<()> {
        println!("Sending message {}", self.msg);
        events::emit("new_msg_sent", [&self.msg])
    }
}
