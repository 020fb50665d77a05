#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::ops::Deref;

use capnp::ErrorKind;
use capnp::any_pointer;
use capnp::capability::{Client, DispatchCallResult, FromServer, Params, Promise, Results, Server};
use capnp::private::capability::ClientHook;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::*;

const ECHO: u16 = 0;
const WAIT: u16 = 1;

/// Echoes at once, or when it is told to.
#[derive(Default)]
struct Echo(Notify);

#[derive(Clone)]
struct EchoDispatch(Rc<Echo>);

struct EchoClient(Client);

impl FromClientHook for EchoClient {
    fn new(hook: Box<dyn ClientHook>) -> Self {
        Self(Client::new(hook))
    }
    fn into_client_hook(self) -> Box<dyn ClientHook> {
        self.0.hook
    }
    fn as_client_hook(&self) -> &dyn ClientHook {
        &*self.0.hook
    }
}

impl FromServer<Echo> for EchoClient {
    type Dispatch = EchoDispatch;
    fn from_server(server: Rc<Echo>) -> EchoDispatch {
        EchoDispatch(server)
    }
}

impl Deref for EchoDispatch {
    type Target = Echo;
    fn deref(&self) -> &Echo {
        &self.0
    }
}

impl Server for EchoDispatch {
    fn dispatch_call(
        self,
        _interface_id: u64,
        method_id: u16,
        params: Params<any_pointer::Owned>,
        mut results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        let promise = Promise::from_future(async move {
            if method_id == WAIT {
                self.0.0.notified().await;
            }
            let data: capnp::data::Reader<'_> = params.get()?.get_as()?;
            results.get().set_as::<capnp::data::Owned>(data)
        });
        DispatchCallResult::new(promise, false)
    }

    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }
}

impl EchoClient {
    fn call(&self, method: u16, data: &[u8]) -> impl Future<Output = Result<Vec<u8>, capnp::Error>> + use<> {
        let mut request = self.0.new_call::<any_pointer::Owned, any_pointer::Owned>(7, method, None);
        request.get().set_as::<capnp::data::Owned>(data).unwrap();
        let promise = request.send().promise;
        async move {
            let response = promise.await?;
            let data: capnp::data::Reader<'_> = response.get()?.get_as()?;
            Ok(data.to_vec())
        }
    }
}

/// Counts how often something is written.
struct Counted<W>(W, Rc<Cell<usize>>);

impl<W: AsyncWrite + Unpin> AsyncWrite for Counted<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.set(self.1.get() + 1);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Pair {
    client: EchoClient,
    echo: Rc<Echo>,
    limit: FrameLimit,
    writes: Rc<Cell<usize>>,
    stop: Rc<Notify>,
    server: JoinHandle<Result<(), capnp::Error>>,
    driver: JoinHandle<Result<(), capnp::Error>>,
    disconnector: Disconnector<Side>,
}

type Halves = (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>);

fn halves() -> (Halves, Halves) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    (tokio::io::split(near), tokio::io::split(far))
}

fn pair() -> Pair {
    let ((near_read, near_write), (far_read, far_write)) = halves();
    let echo = Rc::new(Echo::default());
    let bootstrap: EchoClient = capnp_rpc::new_client_from_rc(echo.clone());
    let limit = FrameLimit::new(64 * 1024);
    let stop = Rc::new(Notify::new());
    let stopped = stop.clone();
    let server = spawn_local(serve_until(far_read, far_write, bootstrap.0, limit.clone(), async move {
        stopped.notified().await;
    }));
    let writes = Rc::new(Cell::new(0));
    let counted = Counted(near_write, writes.clone());
    let (client, driver, disconnector) = connect_vat(near_read, counted, FrameLimit::new(MAX_FRAME));
    Pair { client, echo, limit, writes, stop, server, driver: spawn_local(driver), disconnector }
}

async fn local(test: impl Future<Output = ()>) {
    let limited = tokio::time::timeout(Duration::from_secs(20), test);
    LocalSet::new().run_until(limited).await.unwrap();
}

#[tokio::test]
async fn calls_are_answered_and_ends_are_clean() {
    local(async {
        let pair = pair();
        assert_eq!(pair.client.call(ECHO, b"hello").await.unwrap(), b"hello");
        drop(pair.client);
        pair.disconnector.await.unwrap();
        pair.driver.await.unwrap().unwrap();
        pair.server.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn calls_made_together_travel_together() {
    local(async {
        let pair = pair();
        pair.client.call(ECHO, b"").await.unwrap();
        let before = pair.writes.get();
        let calls: Vec<_> = (0..100_u8).map(|i| pair.client.call(ECHO, &[i])).collect();
        for (i, answer) in futures::future::join_all(calls).await.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), [i as u8]);
        }
        // Requests and the notices that their answers were received.
        let writes = pair.writes.get() - before;
        assert!(writes < 30, "{writes} writes for 100 calls");
    })
    .await;
}

/// Time stands still while anything can be done: a call that costs some was answered by a message that waited.
#[tokio::test(start_paused = true)]
async fn no_answer_of_a_server_waits() {
    local(async {
        let pair = pair();
        pair.client.call(ECHO, b"").await.unwrap();
        let begin = tokio::time::Instant::now();
        for together in 1..60_u8 {
            let calls: Vec<_> = (0..together).map(|i| pair.client.call(ECHO, &[i])).collect();
            futures::future::try_join_all(calls).await.unwrap();
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    })
    .await;
}

#[tokio::test]
async fn messages_grow_with_the_limit() {
    local(async {
        let pair = pair();
        pair.limit.raise(5 << 20);
        let large = vec![7; 4 << 20];
        assert_eq!(pair.client.call(ECHO, &large).await.unwrap(), large);
    })
    .await;
}

#[tokio::test]
async fn a_message_above_the_limit_ends_the_connection() {
    local(async {
        let pair = pair();
        pair.client.call(ECHO, &[0; 60 * 1024]).await.unwrap();
        assert!(pair.client.call(ECHO, &[0; 64 * 1024]).await.is_err());
        let error = pair.server.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("larger than the limit"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn too_many_calls_are_refused_one_by_one() {
    local(async {
        let pair = pair();
        let fill = MAX_OPEN_CALLS - 1; // The bootstrap is a call too.
        let waiting: Vec<_> = (0..fill).map(|_| pair.client.call(WAIT, b"w")).collect();
        let refused = pair.client.call(ECHO, b"").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Overloaded);

        let request = pair.client.0.new_call::<any_pointer::Owned, any_pointer::Owned>(7, ECHO, None);
        let promise = request.send();
        let pipelined = EchoClient(Client::new(promise.pipeline.as_cap()));
        let refused = pipelined.call(ECHO, b"").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Overloaded);
        drop((promise.promise, pipelined));

        pair.echo.0.notify_waiters();
        for answer in futures::future::join_all(waiting).await {
            assert_eq!(answer.unwrap(), b"w");
        }
        assert_eq!(pair.client.call(ECHO, b"again").await.unwrap(), b"again");
    })
    .await;
}

/// The bootstrap's answer stays open all the time, and must not hold up the others.
#[tokio::test]
async fn many_calls_one_after_the_other() {
    local(async {
        let pair = pair();
        for i in 0..4 * MAX_OPEN_CALLS {
            pair.client.call(ECHO, b"x").await.unwrap_or_else(|e| panic!("call {i}: {e}"));
        }
    })
    .await;
}

#[tokio::test]
async fn cancelled_calls_are_forgotten() {
    local(async {
        let pair = pair();
        for _ in 0..10 {
            let waiting: Vec<_> = (0..100).map(|_| pair.client.call(WAIT, b"w")).collect();
            pair.client.call(ECHO, b"").await.unwrap();
            drop(waiting);
            pair.client.call(ECHO, b"").await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn stopping_answers_what_runs_and_refuses_the_rest() {
    local(async {
        let pair = pair();
        let running = pair.client.call(WAIT, b"last");
        pair.client.call(ECHO, b"").await.unwrap();
        pair.stop.notify_one();
        tokio::task::yield_now().await;
        let refused = pair.client.call(ECHO, b"").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Disconnected);
        assert!(!pair.server.is_finished());
        pair.echo.0.notify_waiters();
        assert_eq!(running.await.unwrap(), b"last");
        pair.server.await.unwrap().unwrap();
        pair.driver.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_vanished_client_is_a_clean_end() {
    local(async {
        let ((near_read, near_write), (far_read, far_write)) = halves();
        let bootstrap: EchoClient = capnp_rpc::new_client(Echo::default());
        let server = spawn_local(serve(far_read, far_write, bootstrap.0, FrameLimit::new(1000)));
        drop((near_read, near_write));
        server.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_client_that_never_reads_holds_little() {
    local(async {
        let ((near_read, near_write), (far_read, far_write)) = halves();
        let bootstrap: EchoClient = capnp_rpc::new_client(Echo::default());
        let server = spawn_local(serve(far_read, far_write, bootstrap.0, FrameLimit::new(MAX_FRAME)));
        // Its bytes go nowhere, so that it never sees an answer.
        let (silent, _keep) = tokio::io::duplex(1);
        let (client, driver, _disconnector) =
            connect_vat::<EchoClient, _, _>(silent, near_write, FrameLimit::new(1000));
        spawn_local(driver);
        let mut calls: Vec<_> = (0..5 * MAX_OPEN_CALLS).map(|_| client.call(ECHO, &[0; 4096])).collect();
        calls.push(client.call(ECHO, b""));
        tokio::select! {
            _ = futures::future::join_all(calls) => panic!("answered"),
            () = pending() => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        assert!(!server.is_finished());
        drop(near_read);
    })
    .await;
}
