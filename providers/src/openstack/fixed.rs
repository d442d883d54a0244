//! Which addresses an instance can keep: those that lie in a subnet of the target's network. Pure.

use std::net::IpAddr;

/// Of `addresses` those that one of the subnets, given as CIDR, has room for; one for each subnet.
pub(super) fn keepable(addresses: &[IpAddr], subnets: &[&str]) -> Vec<IpAddr> {
    let mut kept: Vec<IpAddr> = Vec::new();
    for subnet in subnets {
        kept.extend(addresses.iter().find(|address| contains(subnet, **address) && !kept.contains(address)));
    }
    kept
}

fn contains(cidr: &str, address: IpAddr) -> bool {
    let Some((net, length)) = cidr.split_once('/') else { return false };
    let (Ok(net), Ok(length)) = (net.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (net, address) {
        (IpAddr::V4(net), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            (u32::from(net) & mask) == (u32::from(address) & mask)
        }
        (IpAddr::V6(net), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            (u128::from(net) & mask) == (u128::from(address) & mask)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_a_subnet_is_kept() {
        let all: Vec<IpAddr> =
            ["10.40.1.7", "fd00::7", "192.168.0.7", "10.40.1.8"].iter().map(|a| a.parse().unwrap()).collect();
        let kept =
            |subnets: &[&str]| keepable(&all, subnets).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(kept(&["10.40.1.0/24", "fd00::/64"]), ["10.40.1.7", "fd00::7"]);
        assert_eq!(kept(&["10.40.2.0/24", "broken", "10.40.1.0/x"]), [] as [&str; 0]);
        assert_eq!(kept(&["0.0.0.0/0"]), ["10.40.1.7"]);
        assert_eq!(kept(&["10.40.1.8/32"]), ["10.40.1.8"]);
    }
}
