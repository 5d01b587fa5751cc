//! Doors: the ways for events to come in.

pub mod command_queue;
