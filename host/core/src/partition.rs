//! Partitions: fixed shares of a namespace's services, and which host is to own which.

use crate::ServiceKey;

/// How many partitions a namespace has.
pub const PARTITIONS: u16 = 64;

/// The partition of a service: the same on every host and in every release, since it says where its records are.
pub fn of(service: &ServiceKey) -> u16 {
    // The remainder is below 64.
    u16::try_from(hash(service.as_str().bytes()) % u64::from(PARTITIONS)).unwrap_or(0)
}

/// The host that is to own a partition, of those that live, by rendezvous hashing (Thaler and Ravishankar, "Using
/// name-based mappings to increase hit rates", 1998): when a host comes or goes, only the partitions move that it
/// gets or had. None if there is no host.
pub fn owner<'a>(partition: u16, hosts: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let weight = |host: &str| hash(host.bytes().chain([0xff]).chain(partition.to_be_bytes()));
    hosts.into_iter().max_by_key(|host| (weight(host), *host))
}

/// FNV-1a, and the finish of SplitMix64, without which inputs that differ in their last bytes have hashes that are alike
/// in their first bits.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let folded = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_services_partition_is_what_it_was_in_the_first_release() {
        let of = |key: &str| of(&key.parse().unwrap());
        assert_eq!([of("actproducer__main"), of("actconsumer__main"), of("a__b")], [5, 20, 54]);
    }

    #[test]
    fn services_and_partitions_are_spread_evenly() {
        let mut services = [0u32; PARTITIONS as usize];
        for n in 0..6400 {
            services[usize::from(of(&format!("actor__service{n}").parse().unwrap()))] += 1;
        }
        assert!(services.iter().all(|count| (50..=160).contains(count)), "{services:?}");
        let names: Vec<_> = (0..4).map(|n| format!("host-{n}")).collect();
        for host in &names {
            let share = (0..PARTITIONS)
                .filter(|partition| owner(*partition, names.iter().map(String::as_str)) == Some(host))
                .count();
            assert!((6..=28).contains(&share), "{share} of {PARTITIONS}");
        }
    }

    #[test]
    fn only_what_a_host_had_moves_when_it_goes() {
        let names: Vec<_> = (0..5).map(|n| format!("host-{n}")).collect();
        for gone in &names {
            for partition in 0..PARTITIONS {
                let before = owner(partition, names.iter().map(String::as_str)).unwrap();
                let after =
                    owner(partition, names.iter().filter(|name| *name != gone).map(String::as_str)).unwrap();
                assert!(before == gone || before == after);
            }
        }
        assert_eq!(owner(0, []), None);
    }
}
