//! A Redis Cluster for a test.

use std::{thread, time::Duration};

use super::RedisServer;

/// A cluster of primaries without replicas, each with an equal share of the slots, of which all know all.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<RedisServer>,
}

impl Cluster {
    /// Starts a cluster of so many nodes.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    /// Starts a cluster of so many nodes, each with these options of redis.conf.
    pub fn start_with(count: usize, options: &[&str]) -> Self {
        let options = [&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"], options].concat();
        let nodes: Vec<_> = (0..count).map(|_| RedisServer::start_with(&options)).collect();
        for (index, node) in nodes.iter().enumerate() {
            let (first, last) = (index * 16384 / count, (index + 1) * 16384 / count - 1);
            let answer = node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            assert_eq!(answer, "OK");
            // Nodes that come to the same epoch by themselves need some time to settle it.
            assert_eq!(node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]), "OK");
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            assert_eq!(
                cluster.nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]),
                "OK"
            );
        }
        cluster.wait_until_ok();
        cluster
    }

    /// The nodes.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// A node, to stop or restart it.
    pub fn node_mut(&mut self, index: usize) -> &mut RedisServer {
        &mut self.nodes[index]
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("CLUSTER KEYSLOT answers a number")
    }

    /// Which node serves a key, as all nodes were told at the start.
    pub fn first_owner(&self, key: &str) -> usize {
        usize::from(self.slot(key)) * self.nodes.len() / 16384
    }

    /// Moves the slot of a key, and all keys in it, from a node to another.
    pub fn move_slot(&self, key: &str, from: usize, to: usize) {
        let slot = self.slot(key).to_string();
        let id = |index: usize| self.nodes[index].cli(&["CLUSTER", "MYID"]);
        let set = |index: usize, what: &str, node: usize| {
            let answer = self.nodes[index].cli(&["CLUSTER", "SETSLOT", &slot, what, &id(node)]);
            assert_eq!(answer, "OK");
        };
        set(to, "IMPORTING", from);
        set(from, "MIGRATING", to);
        let keys = self.nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        let port = self.nodes[to].port().to_string();
        for key in keys.lines().filter(|key| !key.is_empty()) {
            assert_eq!(self.nodes[from].cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]), "OK");
        }
        set(to, "NODE", to);
        set(from, "NODE", to);
    }

    /// Waits until each node takes the cluster for complete.
    pub fn wait_until_ok(&self) {
        let ok = |node: &RedisServer| {
            let info = node.cli(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_known_nodes:{}", self.nodes.len()))
        };
        for _ in 0..300 {
            if self.nodes.iter().all(ok) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("the cluster did not come up in 30 s: {}", self.nodes[0].cli(&["CLUSTER", "NODES"]));
    }
}
