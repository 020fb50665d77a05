//! Rates: how often one account or one address may do something.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use qpq_proto::account::UserName;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::IdentityId;

use crate::metrics::Metrics;

use super::Options;

/// All rate limits.
pub struct RateLimits {
    pub posts: RateLimit<IdentityId>,
    pub file_parts: RateLimit<IdentityId>,
    pub claims: RateLimit<IdentityId>,
    pub claims_of: RateLimit<IdentityId>,
    pub logins_of: RateLimit<UserName>,
    pub logins_from: RateLimit<IpAddr>,
    pub registrations_from: RateLimit<IpAddr>,
    pub links_from: RateLimit<IpAddr>,
}

impl RateLimits {
    pub fn new(options: &Options) -> Self {
        let limits = &options.limits;
        let minute = Duration::from_secs(60);
        let hour = Duration::from_secs(3600);
        Self {
            posts: RateLimit::new("posts_per_minute", limits.posts_per_minute, minute),
            file_parts: RateLimit::new("file_parts_per_minute", limits.file_parts_per_minute, minute),
            claims: RateLimit::new("claims_per_minute", limits.claims_per_minute, minute),
            claims_of: RateLimit::new("claims_per_minute_per_target", limits.claims_per_minute_per_target, minute),
            logins_of: RateLimit::new("logins_per_minute_per_account", limits.logins_per_minute_per_account, minute),
            logins_from: RateLimit::new("logins_per_minute_per_address", limits.logins_per_minute_per_address, minute),
            registrations_from: RateLimit::new(
                "registrations_per_hour_per_address",
                options.registrations_per_hour,
                hour,
            ),
            // A link is about a dozen calls, and waiting for a person a few more.
            links_from: RateLimit::new("links_per_minute_per_address", LINK_CALLS, minute),
        }
    }

    /// Forgets who has not been seen for a while.
    pub fn clean(&self) {
        self.posts.clean();
        self.file_parts.clean();
        self.claims.clean();
        self.claims_of.clean();
        self.logins_of.clean();
        self.logins_from.clean();
        self.registrations_from.clean();
        self.links_from.clean();
    }
}

/// One limit, counted separately for each key.
pub struct RateLimit<K: Hash + Eq + Clone> {
    name: &'static str,
    limiter: DefaultKeyedRateLimiter<K>,
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    fn new(name: &'static str, count: u32, period: Duration) -> Self {
        let burst = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period / burst.get())
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX))
            .allow_burst(burst);
        Self { name, limiter: DefaultKeyedRateLimiter::keyed(quota) }
    }

    /// Counts one, or refuses with the time to wait.
    pub fn check(&self, key: &K, metrics: &Metrics) -> Result<(), Refusal> {
        if self.limiter.len() >= MOST_KEYS {
            self.clean();
        }
        let Err(not_until) = self.limiter.check_key(key) else {
            return Ok(());
        };
        metrics.rate_limited.with_label_values(&[self.name]).inc();
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        Err(Refusal::later(Code::RateLimited, format!("the limit {} is reached", self.name), wait))
    }

    fn clean(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// Calls about links from one address in a minute.
const LINK_CALLS: u32 = 240;

/// Keys in memory at which the idle ones are thrown out at once instead of within a minute.
const MOST_KEYS: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_the_wait_is_named() {
        let (metrics, limit) = (Metrics::new(), RateLimit::new("tries", 3, Duration::from_secs(60)));
        for _ in 0..3 {
            assert_eq!(limit.check(&1, &metrics), Ok(()));
        }
        let refusal = limit.check(&1, &metrics).expect_err("the fourth");
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(refusal.detail.contains("tries"));
        let wait = refusal.retry_after.expect("a time");
        assert!(wait > Duration::from_secs(15) && wait <= Duration::from_secs(20), "{wait:?}");
        assert_eq!(limit.check(&2, &metrics), Ok(()));
    }
}
