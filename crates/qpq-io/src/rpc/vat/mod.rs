//! Cap'n Proto RPC over any pair of byte streams: QUIC, TLS over TCP, or memory.
//!
//! What a peer can make us hold is limited, at both ends: the size of a message by [`FrameLimit`], nesting and traversal
//! by the reader options, calls by [`MAX_OPEN_CALLS`], outgoing bytes by a buffer of 64 KiB beyond which results
//! wait and count as open calls. The number of capabilities that a peer obtains and keeps is not limited here: that is up
//! to the objects that hand them out.
//!
//! Everything here stays on one thread: use it inside a `LocalSet`.

mod calls;
mod network;
mod outbox;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use capnp::capability::FromClientHook;
use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Disconnector, RpcSystem, twoparty};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::frame::{FrameLimit, LimitedReader, MAX_FRAME};
use calls::Calls;
use network::{LimitedNetwork, Manners};
use outbox::{Hurry, Outbox};

pub use calls::MAX_OPEN_CALLS;

/// Serves `bootstrap` to the other end until that hangs up, which is `Ok`. Dropping the future cancels the calls that are
/// running, and sends nothing any more.
///
/// # Errors
/// The stream failed, or the other end broke the protocol or the `limit`.
pub async fn serve<R, W>(
    reader: R,
    writer: W,
    bootstrap: capnp::capability::Client,
    limit: FrameLimit,
) -> Result<(), capnp::Error>
where
    R: AsyncRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    serve_until(reader, writer, bootstrap, limit, std::future::pending()).await
}

/// As [`serve`], but once `stop` resolves new calls are refused as `disconnected`, and the future ends when the running
/// ones have been answered. There is no time limit on those: the caller has to set one.
///
/// # Errors
/// As [`serve`].
pub async fn serve_until<R, W>(
    reader: R,
    writer: W,
    bootstrap: capnp::capability::Client,
    limit: FrameLimit,
    stop: impl Future<Output = ()>,
) -> Result<(), capnp::Error>
where
    R: AsyncRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    let (network, calls, outbox) = network(reader, writer, Side::Server, limit);
    let system = RpcSystem::new(Box::new(network), Some(bootstrap));
    let mut vat = Vat { system, outbox };
    let mut stop = pin!(stop);
    let outcome = poll_fn(|cx| {
        if !calls.is_draining() && stop.as_mut().poll(cx).is_ready() {
            calls.drain();
        }
        match vat.poll(cx) {
            Poll::Pending if calls.is_drained() => Poll::Ready(Ok(())),
            other => other,
        }
    })
    .await;
    vat.finish().await;
    outcome
}

/// The client's end: the server's bootstrap capability, a future that has to be spawned for anything to happen (it ends
/// with the connection), and a future that hangs up after what has been sent.
///
/// Calls fail as `disconnected` when the connection is gone.
pub fn connect_vat<C, R, W>(
    reader: R,
    writer: W,
    limit: FrameLimit,
) -> (C, impl Future<Output = Result<(), capnp::Error>> + 'static, Disconnector<Side>)
where
    C: FromClientHook,
    R: AsyncRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    let (network, _calls, outbox) = network(reader, writer, Side::Client, limit);
    let mut system = RpcSystem::new(Box::new(network), None);
    let bootstrap = system.bootstrap(Side::Server);
    let disconnector = system.get_disconnector();
    let mut vat = Vat { system, outbox };
    let driver = async move {
        let outcome = poll_fn(|cx| vat.poll(cx)).await;
        vat.finish().await;
        outcome
    };
    (bootstrap, driver, disconnector)
}

/// Bytes read ahead, to parse small messages without asking the stream for each of their parts.
const READ_BUFFER: usize = 2 * 1024;

/// Deeper than any schema of ours, and far from any stack's end.
const NESTING_LIMIT: i32 = 32;

/// How long the last bytes may take to leave when a vat ends.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

fn network<R, W>(reader: R, writer: W, side: Side, limit: FrameLimit) -> (LimitedNetwork, Rc<Calls>, Outbox<W>)
where
    R: AsyncRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    let reader = LimitedReader::new(BufReader::with_capacity(READ_BUFFER, reader).compat(), limit);
    let (hurry, received) = (Hurry::default(), reader.received());
    let (outbox, sender) = Outbox::new(writer, hurry.clone());
    let mut options = ReaderOptions::new();
    options.nesting_limit(NESTING_LIMIT);
    options.traversal_limit_in_words(Some(MAX_FRAME / 8));
    let calls = Rc::new(Calls::default());
    let inner = twoparty::VatNetwork::new(reader, sender, side, options);
    (LimitedNetwork::new(inner, calls.clone(), Manners::new(side, hurry, received)), calls, outbox)
}

/// An RPC system together with what it has written. The bytes go out after every round of the system, so that what one
/// round produces travels together and nothing waits for a timer.
struct Vat<W> {
    system: RpcSystem<Side>,
    outbox: Outbox<W>,
}

impl<W: AsyncWrite + Unpin> Vat<W> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), capnp::Error>> {
        let outcome = Pin::new(&mut self.system).poll(cx);
        // A broken stream reaches the system at its next write, and the reader at once.
        let _ = self.outbox.poll_round(cx);
        outcome
    }

    async fn finish(self) {
        let Self { system, mut outbox } = self;
        drop(system);
        // The other end may be gone already, which is no news.
        let _ = tokio::time::timeout(FINISH_TIMEOUT, outbox.finish()).await;
    }
}

#[cfg(test)]
mod tests;
