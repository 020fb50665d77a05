//! Stopping, and the signals that ask for it.

use tokio::sync::watch;

use crate::Error;

/// The owner's end: tells everybody who holds a [`ShutdownSignal`] to stop. Clones trigger the same shutdown. When the
/// last clone is dropped the shutdown is triggered too, so that nobody waits for an owner who is gone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// A shutdown that has not been triggered.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks everybody to stop. Cannot be taken back; repeating it does nothing.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has been triggered.
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow()
    }

    /// A handle for those who have to stop.
    pub fn signal(&self) -> ShutdownSignal {
        ShutdownSignal(self.0.subscribe())
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// The listener's end of a [`Shutdown`].
#[derive(Clone, Debug)]
pub struct ShutdownSignal(watch::Receiver<bool>);

impl ShutdownSignal {
    /// Returns when the shutdown is triggered; at once if it has been. Safe to drop and call again.
    pub async fn wait(&self) {
        // An error means that the owner is gone, which counts.
        let _ = self.0.clone().wait_for(|triggered| *triggered).await;
    }

    /// Whether the shutdown has been triggered or its owner is gone.
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Returns when the process is asked to end: SIGTERM or SIGINT (Ctrl-C). From the first poll on these signals no longer
/// kill the process.
///
/// # Errors
/// [`Error::Io`] when the handlers cannot be installed.
pub async fn terminate_signal() -> Result<(), Error> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::SignalKind;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(|e| Error::io("cannot listen for Ctrl-C", e))
}

/// The stream of requests to load configuration and certificates again.
#[derive(Debug)]
pub struct ReloadSignals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

/// Starts to listen for SIGHUP; from here on it no longer kills the process. Elsewhere than on Unix it never comes.
/// Needs a tokio runtime.
///
/// # Errors
/// [`Error::Io`] when the handler cannot be installed.
pub fn reload_signals() -> Result<ReloadSignals, Error> {
    Ok(ReloadSignals {
        #[cfg(unix)]
        hangup: listen(tokio::signal::unix::SignalKind::hangup())?,
    })
}

impl ReloadSignals {
    /// Returns at the next SIGHUP. Several that come close together count as one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(unix)]
fn listen(kind: tokio::signal::unix::SignalKind) -> Result<tokio::signal::unix::Signal, Error> {
    tokio::signal::unix::signal(kind).map_err(|e| Error::io("cannot listen for signals", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_it() {
        let shutdown = Shutdown::new();
        let signal = shutdown.signal();
        assert!(!signal.is_triggered());
        shutdown.clone().trigger();
        signal.clone().wait().await;
        signal.wait().await;
        assert!(signal.is_triggered() && shutdown.is_triggered());
        shutdown.signal().wait().await;
    }

    #[tokio::test]
    async fn an_owner_who_is_gone_counts() {
        let signal = Shutdown::new().signal();
        signal.wait().await;
        assert!(signal.is_triggered());
    }
}
