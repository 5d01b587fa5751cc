//! Where what is. All keys of a namespace begin with `{ays:NAMESPACE}:`, so they are in one slot of a cluster.
//!
//! | key | type | |
//! |---|---|---|
//! | `format`, `identity` | string | the format's number, and the store's name for itself; written once |
//! | `hosts` | sorted set | the hosts, by when their leases end, in ms by this server's clock |
//! | `owners` | hash | partition → `HOST FENCE` of its owner |
//! | `fences` | hash | partition → how often it has changed hands |
//! | `in:HOST` | list | notices for a host: `jP ID` a job came to partition P, `sSERVICE` a service's record was changed, `cID SERVICE` a job was cancelled, `l` leases changed |
//! | `wake:HOST` | list | not empty when `in:HOST` has something: what a host waits on |
//! | `calls:HOST` | string | the number of a host's last commit, and the first id that it gave out; `begun` while it is made |
//! | `probe` | any | what a host tries its rights on when it opens the namespace |
//! | `running:HOST` | hash | job → nothing, for jobs that a host has been executing for a while; for readers |
//! | `ids` | hash | `ms` and `number` of the last id, `salt` |
//! | `s:P`, `t:P`, `v:P` | hash | of the services of partition P: service → record, → schedules by action, → version |
//! | `k:SERVICE`, `n:SERVICE` | hash, sorted set | a service's key-value pairs: key → value; their keys in order |
//! | `p:P` | hash | the jobs in the mailboxes of partition P: id → record |
//! | `filters`, `filters:version` | hash, string | number → event filter; changes whenever they do |
//! | `runs`, `v:runs` | hash | runs under way: id → record, → version |
//! | `claims` | hash | door → number of its last claim |
//! | `grants` | hash | actor → what blueprints grant it |
//! | `dead`, `dead:ids` | hash, sorted set | id → dead letter; their ids in order |
//! | `history`, `pieces` | hash, list | `piece` the number of the piece that is written to, `day`, `rows`, and `jobs` in all pieces; the pieces' numbers |
//! | `h:N` | hash | of piece N: `jobs`, the `least` and the `most` of their ids, `last` in ms |
//! | `h:N:jobs`, `h:N:runs`, `h:N:unmatched` | hash | id → record |
//! | `h:N:s:SERVICE`, `h:N:services` | string, set | the ids of a service's jobs, 26 characters each; the services that have one |
//! | `counts` | hash | `takeovers` of partitions whose owner's lease was over, `refused` turns |
//!
//! A record is JSON. Where ids in it were given out together with it, they are written as numbers from 0, and the record begins
//! with `@` and the id that 0 stands for.

use ays_core::ServiceKey;

/// The prefix of a namespace's keys.
#[derive(Clone, Debug)]
pub(super) struct Keys(String);

impl Keys {
    pub(super) fn new(namespace: &str) -> Self {
        Self(format!("{{ays:{namespace}}}:"))
    }

    pub(super) fn prefix(&self) -> &str {
        &self.0
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    /// A key of the partition that a service is in.
    pub(super) fn of(&self, kind: char, service: &ServiceKey) -> String {
        self.at(kind, ays_core::partition::of(service))
    }

    /// A key of a partition.
    pub(super) fn at(&self, kind: char, partition: u16) -> String {
        format!("{}{kind}:{partition}", self.0)
    }
}
