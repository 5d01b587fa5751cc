//! Which node of a cluster serves a key.

use redis::{FromRedisValue, Value, from_redis_value_ref};

use crate::address::Place;

/// How many hash slots a cluster has.
const SLOTS: u16 = 16384;

/// The hash slot of a key: that of its first `{…}` if that is not empty, else that of all of it.
///
/// CRC16 as XMODEM has it, polynomial 0x1021: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tag = || {
        let start = key.iter().position(|byte| *byte == b'{')? + 1;
        let rest = key.get(start..)?;
        let length = rest.iter().position(|byte| *byte == b'}').filter(|length| *length > 0)?;
        rest.get(..length)
    };
    let crc = tag().unwrap_or(key).iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    });
    crc % SLOTS
}

/// A node as `CLUSTER SLOTS` tells it.
pub(crate) struct Node {
    place: Place,
    pub(crate) id: Option<String>,
}

impl Node {
    fn read(value: &Value) -> Option<Self> {
        let Value::Array(parts) = value else { return None };
        let text = |index: usize| -> Option<String> {
            parts.get(index).and_then(|part| from_redis_value_ref(part).ok())
        };
        let port = parts.get(1).and_then(|port| u16::from_redis_value_ref(port).ok())?;
        Some(Self { place: Place::Tcp(text(0).unwrap_or_default(), port), id: text(2) })
    }

    /// Where it listens, unless it does not know that and was asked by its socket.
    pub(crate) fn place(&self, asked: &Place) -> Option<Place> {
        match self.place.clone().seen_from(asked) {
            Place::Tcp(host, _) if host.is_empty() || host == "?" => None,
            place => Some(place),
        }
    }
}

/// A cluster's nodes.
pub(crate) struct Slots {
    /// First and last slot, primary, replicas.
    ranges: Vec<(u16, u16, Vec<Node>)>,
}

impl Slots {
    /// Reads the reply to `CLUSTER SLOTS`.
    pub(crate) fn read(reply: &Value) -> Self {
        let range = |value: &Value| -> Option<(u16, u16, Vec<Node>)> {
            let Value::Array(parts) = value else { return None };
            let number =
                |index: usize| parts.get(index).and_then(|part| u16::from_redis_value_ref(part).ok());
            Some((number(0)?, number(1)?, parts.iter().skip(2).filter_map(Node::read).collect()))
        };
        let Value::Array(ranges) = reply else { return Self { ranges: Vec::new() } };
        Self { ranges: ranges.iter().filter_map(range).collect() }
    }

    /// The primary that serves a slot.
    pub(crate) fn primary(&self, slot: u16) -> Option<&Node> {
        self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?.2.first()
    }

    /// All nodes, each once.
    pub(crate) fn places(&self, asked: &Place) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for place in self.ranges.iter().flat_map(|(_, _, nodes)| nodes).filter_map(|node| node.place(asked)) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_slot_is_that_of_its_tag() {
        // As `CLUSTER KEYSLOT` of Redis 7.0 answers.
        let table: [(&str, u16); 8] = [
            ("", 0),
            ("123456789", 12739),
            ("foo", 12182),
            ("{foo}bar", 12182),
            ("a{foo}{bar}", 12182),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar", 15278),
        ];
        for (key, expected) in table {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
