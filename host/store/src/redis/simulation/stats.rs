//! What simulations went through.

use ays_redis_model::Reply;

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub(super) seeds: u64,
    pub(super) commits: u64,
    pub(super) again: u64,
    pub(super) stale_partitions: u64,
    pub(super) stale_records: u64,
    pub(super) stale_filters: u64,
    pub(super) stale_missing: u64,
    pub(super) stale_claims: u64,
    pub(super) joined: u64,
    pub(super) takeovers: u64,
    pub(super) refused: u64,
    pub(super) jobs: u64,
    pub(super) late: u64,
    pub(super) restarts: u64,
    pub(super) pauses: u64,
    pub(super) crashes: u64,
    pub(super) recalled: u64,
    pub(super) repeated: u64,
    pub(super) forgot: u64,
}

impl Stats {
    pub(super) fn commit(&mut self, reply: &[Reply]) {
        let is = |at: usize, text: &str| reply.get(at) == Some(&Reply::Bulk(text.into()));
        if is(0, "ok") {
            self.commits += 1;
        } else if is(0, "again") {
            self.again += 1;
        } else if is(0, "forgot") {
            self.forgot += 1;
        } else {
            let some = |at: usize| match reply.get(at) {
                Some(Reply::Array(items)) => u64::from(!items.is_empty()),
                Some(Reply::Int(n)) => u64::from(*n > 0),
                _ => 0,
            };
            self.stale_partitions += some(1);
            self.stale_records += some(2);
            self.stale_filters += some(3);
            self.stale_missing += some(4);
            self.stale_claims += some(5);
        }
    }

    pub(super) fn lease(&mut self, reply: &[Reply]) {
        self.joined += u64::from(reply.get(1) == Some(&Reply::Int(1)));
    }

    /// Each with its name.
    pub(super) fn all(&self) -> [(&'static str, u64); 19] {
        [
            ("seeds", self.seeds),
            ("commits", self.commits),
            ("repeated calls answered `again`", self.again),
            ("calls answered `forgot`", self.forgot),
            ("stale: partitions", self.stale_partitions),
            ("stale: records", self.stale_records),
            ("stale: filters", self.stale_filters),
            ("stale: missing", self.stale_missing),
            ("stale: claims", self.stale_claims),
            ("leases begun", self.joined),
            ("takeovers", self.takeovers),
            ("refused turns", self.refused),
            ("jobs that ended", self.jobs),
            ("calls executed late", self.late),
            ("restarts of the server", self.restarts),
            ("pauses", self.pauses),
            ("crashes", self.crashes),
            ("recalled jobs", self.recalled),
            ("repeated claims", self.repeated),
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.commits += other.commits;
        self.again += other.again;
        self.forgot += other.forgot;
        self.stale_partitions += other.stale_partitions;
        self.stale_records += other.stale_records;
        self.stale_filters += other.stale_filters;
        self.stale_missing += other.stale_missing;
        self.stale_claims += other.stale_claims;
        self.joined += other.joined;
        self.takeovers += other.takeovers;
        self.refused += other.refused;
        self.jobs += other.jobs;
        self.late += other.late;
        self.restarts += other.restarts;
        self.pauses += other.pauses;
        self.crashes += other.crashes;
        self.recalled += other.recalled;
        self.repeated += other.repeated;
    }
}
