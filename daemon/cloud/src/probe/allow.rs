//! Which addresses a grant for checks allows: `*` for every public one, `name` and `*.suffix` for public ones of these names, an address
//! or `a.b.c.d/n` for exactly those, private ones included. Pure; it must not resolve names.

use std::net::IpAddr;

use crate::http::is_private;

pub(super) fn allows(patterns: &[String], host: &str, address: IpAddr) -> bool {
    !never(address)
        && patterns
            .iter()
            .any(|pattern| allows_one(pattern, host, address))
}

fn allows_one(pattern: &str, host: &str, address: IpAddr) -> bool {
    if let Some(range) = Range::parse(pattern) {
        return range.contains(address);
    }
    let (host, pattern) = (
        host.trim_end_matches('.').to_ascii_lowercase(),
        pattern.to_ascii_lowercase(),
    );
    let named = match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => {
            suffix.starts_with('.') && host.len() > suffix.len() && host.ends_with(suffix)
        }
        None => host == pattern,
    };
    named && !is_private(address)
}

/// Metadata services, link-local, unspecified, multicast and broadcast addresses are nobody's replica.
fn never(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.octets() >= [224, 0, 0, 0]
                || matches!(
                    v4.octets(),
                    [169, 254, ..]
                        | [0, ..]
                        | [100, 100, 100, 200]
                        | [168, 63, 129, 16]
                        | [192, 0, 0, 192]
                )
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            let metadata = segments == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() || metadata
        }
    }
}

/// The addresses that share their first bits.
struct Range {
    base: IpAddr,
    bits: u32,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let base: IpAddr = base
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { base, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let agree = |a: u128, b: u128, width: u32| {
            self.bits == 0 || (a ^ b).checked_shr(width - self.bits).unwrap_or(0) == 0
        };
        match (self.base, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                agree(u128::from(a.to_bits()), u128::from(b.to_bits()), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => agree(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_allows_what_it_says_and_never_the_metadata_service() {
        let allowed = |pattern: &str, host: &str, address: &str| {
            allows(&[pattern.to_owned()], host, address.parse().unwrap())
        };
        for (pattern, host, address) in [
            ("*", "vm.example.com", "8.8.8.8"),
            ("*", "8.8.8.8", "8.8.8.8"),
            ("*.example.com", "VM.example.com.", "8.8.8.8"),
            ("vm.example.com", "vm.example.com", "2606:4700::1111"),
            ("10.0.0.0/8", "vm.internal", "10.1.2.3"),
            ("127.0.0.1", "localhost", "127.0.0.1"),
            ("fd12::/16", "vm", "fd12::1"),
            ("0.0.0.0/0", "vm", "192.168.1.1"),
        ] {
            assert!(
                allowed(pattern, host, address),
                "{pattern} {host} {address}"
            );
        }
        for (pattern, host, address) in [
            ("*", "vm.example.com", "10.0.0.1"),
            ("*", "localhost", "127.0.0.1"),
            ("*", "vm", "169.254.169.254"),
            ("*.example.com", "example.com", "8.8.8.8"),
            ("*.example.com", "vm.example.com", "192.168.0.1"),
            ("*example.com", "evilexample.com", "8.8.8.8"),
            ("vm.example.com", "other.example.com", "8.8.8.8"),
            ("10.0.0.0/8", "vm", "11.0.0.1"),
            ("10.0.0.0/33", "vm", "10.0.0.1"),
            ("0.0.0.0/0", "vm", "169.254.169.254"),
            ("169.254.169.254", "vm", "169.254.169.254"),
            ("::/0", "vm", "fd00:ec2::254"),
            ("::/0", "vm", "fe80::1"),
            ("", "vm", "8.8.8.8"),
        ] {
            assert!(
                !allowed(pattern, host, address),
                "{pattern} {host} {address}"
            );
        }
    }
}
