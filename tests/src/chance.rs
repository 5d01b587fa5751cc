//! Choices at random that can be repeated, and settings from the environment.

/// A number from the environment, as `AYS_TEST_EVENTS`.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Dice of any number of sides. The same seed rolls the same: xorshift64*, <https://doi.org/10.1145/2845077>.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// With the seed `AYS_TEST_SEED`, or another one each time. It is printed, to repeat a run that failed.
    pub fn new() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().expect("the clock is after 1970").as_nanos() as u64;
        let seed = setting("AYS_TEST_SEED", now);
        eprintln!("AYS_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// Other dice, for another thread.
    pub fn fork(&mut self) -> Self {
        Self(self.next() | 1)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        // The lower bits are the worse ones.
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 3
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}
