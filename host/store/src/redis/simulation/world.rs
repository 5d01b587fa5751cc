//! What all of a simulation shares, and how it is drawn from a seed.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64},
    },
    time::Duration,
};

use ays_core::{EventName, ServiceKey, Timestamp};

use super::{
    ledger::Ledger,
    network::{Network, Server, Weather},
    random::Random,
};
use crate::redis::{Options, keys::Keys};

/// What kinds of trouble there are in a simulation, and how much of everything.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) hosts: usize,
    pub(super) services: usize,
    pub(super) actions: usize,
    /// For how long things happen, in ms.
    pub(super) active: u64,
    pub(super) weather: Weather,
    pub(super) pauses: bool,
    pub(super) crashes: bool,
    pub(super) cuts: bool,
    pub(super) restarts: bool,
    /// A server that is started anew has forgotten the last moments.
    pub(super) forgets: bool,
    pub(super) steps: bool,
    pub(super) retains: bool,
    pub(super) claims: u64,
    /// How long jobs take, in µs, at most.
    pub(super) executions: u64,
}

/// How often in a thousand simulations with restarts a server has forgotten something.
const FORGETS: u64 = 300;

impl Plan {
    fn draw(random: &mut Random) -> Self {
        let calm = random.permille(150);
        let mut some = |permille| !calm && random.permille(permille);
        let (pauses, cuts, restarts, steps) = (some(400), some(350), some(300), some(300));
        let weather = match calm {
            true => Weather::default(),
            false => Weather { breaks: random.of(&[0, 5, 20, 60]), slow: random.of(&[0, 5, 30]) },
        };
        let forgets = restarts && random.permille(FORGETS);
        Self {
            hosts: random.index(4) + 1,
            services: random.index(6) + 3,
            actions: random.index(22) + 6,
            active: random.between(400, 2500),
            weather,
            pauses,
            crashes: random.permille(500),
            cuts,
            restarts,
            forgets,
            steps,
            // What was dropped from the history, and then forgotten to have been, would be there twice.
            retains: !forgets && random.permille(200),
            claims: if random.permille(500) { random.between(2, 8) } else { 0 },
            executions: random.of(&[1_000, 20_000, 50_000]),
        }
    }

    /// Whether nothing but hosts fail.
    pub(super) fn is_calm(&self) -> bool {
        !self.pauses && !self.cuts && !self.restarts && self.weather.breaks == 0 && self.weather.slow == 0
    }
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) network: Network,
    pub(super) keys: Keys,
    pub(super) options: Options,
    pub(super) services: Vec<ServiceKey>,
    pub(super) events: Vec<EventName>,
    random: Mutex<Random>,
    ledger: Mutex<Ledger>,
    /// The server is about to go down, or is down.
    pub(super) restarting: AtomicBool,
    /// How far a clock was ahead at most, in ms.
    pub(super) most_off: AtomicI64,
    /// What all clocks say in the end, so that nothing falls due any more.
    pub(super) frozen: Mutex<Option<Timestamp>>,
}

impl World {
    pub(super) fn new(seed: u64, traced: bool) -> Arc<Self> {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        let keys = Keys::new("sim");
        let server = Server::new(keys.clone(), Random::new(random.next()), traced);
        let options = Options {
            lease: Duration::from_millis(random.between(600, 1500)),
            job_cache_bytes: random.of(&[0, 1500, 1 << 20]),
            piece_jobs: random.between(3, 40),
        };
        let services = (0..plan.services).map(|n| format!("act__s{n}").parse().unwrap()).collect();
        let events = (0..4).map(|n| format!("event{n}").parse().unwrap()).collect();
        Arc::new(Self {
            plan,
            network: Network::new(server),
            keys,
            options,
            services,
            events,
            random: Mutex::new(random),
            ledger: Mutex::default(),
            restarting: AtomicBool::new(false),
            most_off: AtomicI64::new(0),
            frozen: Mutex::new(None),
        })
    }

    pub(super) fn chance(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub(super) fn server(&self) -> MutexGuard<'_, Server> {
        self.network.server.lock().unwrap()
    }

    /// How long a job takes.
    pub(super) fn execution(&self) -> Duration {
        let mut random = self.chance();
        let most = if random.permille(20) { 20 * self.plan.executions } else { self.plan.executions };
        Duration::from_micros(random.below(most))
    }
}
