//! The job's log. What `println!` and `eprintln!` write goes there too, as `info` and `warn`.
//!
//! Each level is a function that takes a text, and a macro that takes what `format!` takes:
//!
//! ```no_run
//! # use ays_sdk::log;
//! # let free = 3;
//! log::info("done");
//! log::warn!("only {free} left");
//! ```

use crate::bindings::ays::actor::log as host;

#[doc(inline)]
pub use crate::{__debug as debug, __error as error, __info as info, __warn as warn};

/// Logs a line for developers.
pub fn debug(message: impl AsRef<str>) {
    host::log(host::Level::Debug, message.as_ref());
}

/// Logs a line about what was done.
pub fn info(message: impl AsRef<str>) {
    host::log(host::Level::Info, message.as_ref());
}

/// Logs a line about what looks wrong and does not stop the action.
pub fn warn(message: impl AsRef<str>) {
    host::log(host::Level::Warn, message.as_ref());
}

/// Logs a line about what went wrong.
pub fn error(message: impl AsRef<str>) {
    host::log(host::Level::Error, message.as_ref());
}

/// Logs a formatted line for developers.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($arg:tt)+) => { $crate::log::debug(::std::format!($($arg)+)) };
}

/// Logs a formatted line about what was done.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($arg:tt)+) => { $crate::log::info(::std::format!($($arg)+)) };
}

/// Logs a formatted line about what looks wrong and does not stop the action.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($arg:tt)+) => { $crate::log::warn(::std::format!($($arg)+)) };
}

/// Logs a formatted line about what went wrong.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($arg:tt)+) => { $crate::log::error(::std::format!($($arg)+)) };
}
