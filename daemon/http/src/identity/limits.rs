//! How often one token, and one address without a token, may ask.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use tradewind_core::units::Millis;

/// How long to wait before asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Millis);

pub(super) struct Limits {
    of_token: Quota,
    /// Requests that need no token, and those that lead nowhere.
    anonymous: DefaultKeyedRateLimiter<IpAddr>,
    /// Requests whose token was missing or not accepted.
    refused: DefaultKeyedRateLimiter<IpAddr>,
}

/// Of one address: enough for a person with a wrong token in the environment, too few for a program that guesses.
const REFUSED_BURST: u32 = 100;
const REFUSED_RATE: u32 = 10;
/// Of one token: the first ones, then one a minute.
const RECORDED_BURST: u32 = 10;

impl Limits {
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        let of_token = quota(rate, burst);
        Self {
            of_token,
            anonymous: RateLimiter::keyed(of_token),
            refused: RateLimiter::keyed(quota(REFUSED_RATE, REFUSED_BURST)),
        }
    }

    pub(super) fn of_token(&self) -> DefaultDirectRateLimiter {
        RateLimiter::direct(self.of_token)
    }

    /// How often what a token tried without being allowed to is recorded. It bounds what one token takes of the audit log.
    pub(super) fn of_refusals() -> DefaultDirectRateLimiter {
        let burst = NonZeroU32::new(RECORDED_BURST).unwrap_or(NonZeroU32::MIN);
        RateLimiter::direct(Quota::per_minute(NonZeroU32::MIN).allow_burst(burst))
    }

    pub(super) fn anonymous(&self, address: IpAddr) -> Result<(), Patience> {
        self.anonymous
            .check_key(&network(address))
            .map_err(Patience::from)
    }

    pub(super) fn refused(&self, address: IpAddr) -> Result<(), Patience> {
        self.refused
            .check_key(&network(address))
            .map_err(Patience::from)
    }

    /// Addresses that have not asked for a while need no memory.
    pub(super) fn forget(&self) {
        for addresses in [&self.anonymous, &self.refused] {
            addresses.retain_recent();
            addresses.shrink_to_fit();
        }
    }
}

fn quota(rate: u32, burst: u32) -> Quota {
    let some = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(some(rate)).allow_burst(some(burst))
}

/// Whoever has one IPv6 address has the rest of its network, too.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl From<NotUntil<<DefaultClock as Clock>::Instant>> for Patience {
    fn from(until: NotUntil<<DefaultClock as Clock>::Instant>) -> Self {
        let wait = until.wait_time_from(DefaultClock::default().now());
        Self(Millis::from(wait.max(Duration::from_millis(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_limited_apart_and_networks_together() {
        let limits = Limits::new(1, 2);
        let ask = |address: &str| limits.anonymous(address.parse().unwrap()).is_ok();
        assert_eq!(
            [ask("10.0.0.1"), ask("10.0.0.1"), ask("10.0.0.1")],
            [true, true, false]
        );
        assert!(ask("10.0.0.2"));
        assert_eq!(
            [ask("2001:db8::1"), ask("2001:db8::2"), ask("2001:db8::3")],
            [true, true, false]
        );
        assert!(ask("2001:db8:0:1::1"));
        assert!(
            !ask("::ffff:10.0.0.1"),
            "the same address written otherwise"
        );
    }
}
