//! What a job may use.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::manifest::{ActionSpec, Manifest};

/// What a limit is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Ms,
    /// A number of things.
    Count,
}

impl Unit {
    /// An amount for people: `64 MiB`, `10000 ms`, `1000`.
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Ms => format!("{amount} ms"),
            Self::Count => amount.to_string(),
            Self::Bytes if amount >= 1 << 20 && amount.trailing_zeros() >= 20 => {
                format!("{} MiB", amount >> 20)
            }
            Self::Bytes if amount >= 1 << 10 && amount.trailing_zeros() >= 10 => {
                format!("{} KiB", amount >> 10)
            }
            Self::Bytes => format!("{amount} bytes"),
        }
    }
}

/// Each limit once: its name, its unit, what a job may use whose actor asks for nothing, and the most that an actor can
/// ask for unless the operator says otherwise.
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $unit:ident, $default:expr, $ceiling:expr;)*) => {
        /// The limits of one job.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Limits {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// Limits that a manifest asks for. What is not said is the host's default; nothing goes above the host's
        /// ceiling.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct WantedLimits {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<u64>,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// The most that a manifest can ask for unless the operator says otherwise.
            pub const CEILING: Self = Self { $($name: $ceiling,)* };

            /// The names of all of them.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// These, with what `wanted` says put in place, up to the ceiling.
            #[must_use]
            pub fn with(self, wanted: &WantedLimits, ceiling: &Limits) -> Self {
                Self { $($name: wanted.$name.unwrap_or(self.$name).min(ceiling.$name),)* }
            }

            /// Each with its name and unit.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, Unit, u64)> {
                [$((stringify!($name), Unit::$unit, self.$name)),*].into_iter()
            }

            /// The one of this name.
            pub fn named(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }

        impl WantedLimits {
            /// Those that are asked for, with their names.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*]
                    .into_iter()
                    .filter_map(|(name, wanted)| wanted.map(|wanted| (name, wanted)))
            }
        }
    };
}

limits! {
    /// Linear memory, summed over all memories of an instance, in bytes.
    memory_bytes: Bytes, 64 << 20, 1 << 30;
    /// Elements of all tables of an instance together.
    table_elements: Count, 100_000, 1_000_000;
    /// CPU time of a job, in milliseconds.
    cpu_ms: Ms, 10_000, 3_600_000;
    /// Time from a job's start to its end, in milliseconds.
    wall_ms: Ms, 60_000, 86_400_000;
    /// What one call to the host may hand over, and what a job may return, in bytes.
    hostcall_bytes: Bytes, 32 << 20, 128 << 20;
    /// Handles that an instance holds at a time: of resources, streams and timers.
    handles: Count, 1_000, 10_000;
    /// Random bytes of one call.
    random_bytes: Bytes, 1 << 20, 16 << 20;
    /// Log lines of a job, in bytes.
    log_bytes: Bytes, 256 << 10, 16 << 20;
    /// Log lines of a job.
    log_lines: Count, 4_000, 100_000;
    /// The service's data, a job's result, and an event's args: each at most this many bytes of JSON text.
    data_bytes: Bytes, 1 << 20, 16 << 20;
    /// Events that a job may emit.
    events: Count, 1_000, 100_000;
    /// Events that a service may emit in a second, on average. Up to ten times as many may come at once.
    events_per_s: Count, 10_000, 1_000_000;
    /// Changes to event filters and schedules that a job may make.
    changes: Count, 1_000, 10_000;
    /// All that a job emits and changes together, in bytes: it is held in memory until the job has ended.
    turn_bytes: Bytes, 16 << 20, 256 << 20;
    /// The service's key-value pairs, keys and values together, in bytes.
    kv_bytes: Bytes, 16 << 20, 128 << 20;
    /// Event filters that the service may have, as its jobs set them.
    filters: Count, 1_000, 10_000;
}

/// What is said of a limit that was, or would be, exceeded, without where it is raised: `what` says how much was used.
pub fn exceeded(limit: &str, what: impl fmt::Display, most: u64) -> String {
    format!("{what}; its limit `{limit}` is {most}")
}

/// The same with [where it is raised](raised).
pub fn beyond(limit: &str, what: impl fmt::Display, most: u64) -> String {
    format!("{}; {}", exceeded(limit, what, most), raised(limit))
}

/// Where a limit is raised, for the end of a sentence.
pub fn raised(limit: &str) -> String {
    format!(
        "the actor's manifest can ask for another `{limit}`, up to the host's ceiling (`--ceiling {limit}=AMOUNT`); \
         `--limit {limit}=AMOUNT` is for actors that ask for none"
    )
}

impl WantedLimits {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitPolicy {
    /// Of a job whose actor asks for nothing.
    pub default: Limits,
    /// The most that an actor can ask for.
    pub ceiling: Limits,
}

impl Default for LimitPolicy {
    fn default() -> Self {
        Self { default: Limits::default(), ceiling: Limits::CEILING }
    }
}

impl LimitPolicy {
    /// The limits of this actor's jobs, where its actions say nothing of their own.
    pub fn of(&self, manifest: &Manifest) -> Limits {
        self.default.with(&manifest.limits, &self.ceiling)
    }

    /// The limits of this action's jobs.
    pub fn of_action(&self, manifest: &Manifest, action: &ActionSpec) -> Limits {
        self.of(manifest).with(&action.limits, &self.ceiling)
    }
}
