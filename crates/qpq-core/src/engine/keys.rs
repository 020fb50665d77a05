//! The stock of key packages on the server.

use std::time::Duration;

use qpq_trust::suite::Suite;
use serde_bytes::ByteBuf;

use super::ctx::Ctx;
use crate::error::Error;
use crate::mls::key_package::generate;
use crate::request::{Purpose, Request};
use crate::store::rows::{OutboxRow, Row as _};

impl Ctx<'_> {
    /// Publishes a full stock when there is none or it grows old.
    pub(super) fn renew_key_packages(&mut self) -> Result<(), Error> {
        let fresh = |published| self.now.since(published) < RENEW_AFTER;
        if self.account.keys_published.is_some_and(fresh) {
            return Ok(());
        }
        self.account.keys_published = Some(self.now);
        self.account.save(self.store)?;
        self.publish(STOCK, true)
    }

    /// Fills the stock up again.
    pub(super) fn refill_key_packages(&mut self, left: u32) -> Result<(), Error> {
        let under_way = OutboxRow::all(self.store)?.iter().any(|row| row.purpose == Purpose::PublishKeys);
        // The server may have counted before the ones on their way arrived.
        if under_way { Ok(()) } else { self.publish(STOCK.saturating_sub(left), false) }
    }

    fn publish(&mut self, count: u32, last_resort: bool) -> Result<(), Error> {
        let classic = if last_resort { CLASSIC_STOCK } else { 0 };
        let counts = [(Suite::Hybrid, count), (Suite::Classic, classic)];
        let mut one_time = Vec::new();
        let mut spare = Vec::new();
        for (suite, count) in counts {
            for _ in 0..count {
                one_time.push(self.key_package(suite, false)?);
            }
            if last_resort {
                spare.push(self.key_package(suite, true)?);
            }
        }
        if one_time.is_empty() && spare.is_empty() {
            return Ok(());
        }
        self.request(Request::PublishKeys { one_time, last_resort: spare }, Purpose::PublishKeys)?;
        Ok(())
    }

    fn key_package(&mut self, suite: Suite, last_resort: bool) -> Result<ByteBuf, Error> {
        let provider = crate::mls::Provider::new(self.crypto, &mut *self.store);
        generate(&provider, &self.myself, suite, last_resort).map(ByteBuf::from)
    }
}

/// One-time key packages of the hybrid suite. A server takes at least a hundred: enough for this stock, the one that it replaces
/// every other week, and a refill.
const STOCK: u32 = 30;
/// Groups of the classic suite are rare.
const CLASSIC_STOCK: u32 = 3;
/// Half of a key package's lifetime: it is good for another eight days then.
const RENEW_AFTER: Duration = Duration::from_secs(15 * 24 * 3600);
