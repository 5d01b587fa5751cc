//! An actor of which there are several versions, by the crate's features.

use ays_sdk::prelude::*;

#[cfg(not(feature = "second"))]
#[derive(Serialize, Deserialize, Schema)]
#[serde(crate = "ays_sdk::serde")]
struct Phase {
    /// First and last name.
    name: String,
    /// How often `count` ran.
    count: u64,
}

/// With a name in two parts, and a field that was not there before.
#[cfg(feature = "second")]
#[derive(Serialize, Deserialize, Schema)]
#[serde(crate = "ays_sdk::serde")]
struct Phase {
    first: String,
    last: String,
    #[schema(default = "nobody")]
    friend: String,
    /// How often `count` ran.
    count: u64,
}

#[cfg_attr(all(feature = "greedy", not(feature = "second")), actor(capabilities = ["secret *"]))]
#[cfg_attr(all(feature = "second", not(feature = "greedy")), actor(schema_version = 2))]
#[cfg_attr(all(feature = "greedy", feature = "second"), actor(capabilities = ["secret *"], schema_version = 2))]
#[cfg_attr(not(any(feature = "greedy", feature = "second")), actor)]
impl Phase {
    /// Adds one.
    #[cfg(not(feature = "bare"))]
    #[action]
    fn count(&mut self) -> u64 {
        if cfg!(feature = "trapping") {
            panic!("this version always panics");
        }
        self.count += 1;
        self.count
    }

    /// Adds one for an event, and when it is time.
    #[cfg(feature = "listening")]
    #[action(recurring = "1s")]
    #[on(event = "phase_asked")]
    fn asked(&mut self) {
        self.count += 100;
    }

    /// Panics, in any version.
    #[action(retry(attempts = 3, delays = [1]))]
    fn poison(&self) {
        panic!("panicked as asked");
    }

    /// Splits the name.
    #[cfg(feature = "second")]
    #[migrate]
    fn migrate(from: u32, mut data: Value) -> Result<Value> {
        let Some((first, last)) = data["name"].as_str().unwrap_or_default().split_once(' ') else {
            return Err(Error::fatal(format!("version {from} has a name without a blank: {}", data["name"])));
        };
        let (first, last) = (first.to_owned(), last.to_owned());
        if cfg!(feature = "stuck") && first == "Ada" {
            return Err(Error::fatal("Ada cannot be migrated".repeat(10_000)));
        }
        if cfg!(feature = "slow") {
            // A second for most; those of Ada take for ever.
            let began = std::time::Instant::now();
            while first == "Ada" || began.elapsed().as_millis() < 1000 {}
        }
        data["first"] = first.into();
        data["last"] = last.into();
        Ok(data)
    }
}
