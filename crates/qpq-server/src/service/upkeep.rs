//! What the service does by itself, now and then.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use qpq_proto::code::Refusal;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Service;

impl Service {
    /// Runs the regular tasks until `shutdown` resolves, and then writes what is still in memory.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let tasks = async {
            tokio::join!(
                self.every("accounts", ACCOUNTS, || self.end_sessions_of_changed_accounts()),
                self.every("disk", DISK, || self.try_the_disk_again()),
                self.every("acknowledgements", ACKNOWLEDGEMENTS, || self.flush_acknowledgements()),
                self.every("sweep", SWEEP, || self.tidy()),
            )
        };
        tokio::select! {
            () = shutdown => {}
            _ = tasks => {}
        }
        if let Err(refusal) = self.flush_acknowledgements().await {
            tracing::warn!(%refusal, "acknowledgements were not written");
        }
    }

    /// Finds out whether a full disk has room again, also when nobody writes.
    async fn try_the_disk_again(&self) -> Result<(), Refusal> {
        if !self.store.is_writable() {
            self.store.probe().await?;
        }
        Ok(())
    }

    /// Forgets what nobody needs any more, in the store and in memory.
    pub async fn tidy(&self) -> Result<(), Refusal> {
        let began = std::time::Instant::now();
        self.limits.clean();
        self.flush_acknowledgements().await?;
        self.refresh_snapshots().await?;
        self.sweep_blobs().await?;
        let mut next = Some(0);
        while let Some(from) = next {
            let swept = self.store.sweep(from, self.clock.now(), self.options.retention).await?;
            self.metrics.swept.inc_by(swept.erased);
            next = swept.next;
        }
        self.metrics.sweep_seconds.observe(began.elapsed().as_secs_f64());
        self.metrics.last_sweep.set(i64::try_from(self.clock.now().as_seconds()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Failures are logged, and the next time may go better.
    async fn every<F, T>(&self, name: &'static str, period: Duration, task: F)
    where
        F: Fn() -> T,
        T: Future<Output = Result<(), Refusal>>,
    {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(refusal) = task().await {
                self.metrics.upkeep_failures.with_label_values(&[name]).inc();
                tracing::warn!(task = name, %refusal, "a regular task failed");
            }
        }
    }
}

/// How soon a disabled account is out.
const ACCOUNTS: Duration = Duration::from_secs(1);

/// How soon a server that could not write is ready again. Clients are told to come back after twice as long.
const DISK: Duration = Duration::from_secs(5);

/// Together they cost one flush.
const ACKNOWLEDGEMENTS: Duration = Duration::from_secs(2);

const SWEEP: Duration = Duration::from_secs(60);
