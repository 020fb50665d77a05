//! A UDP relay between clients and a server on loopback: bad weather, black holes, and changes of address, for programs
//! that do not know of it. Each client has a socket of its own towards the server, as behind a NAT.

mod flow;
mod weather;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use qpq_io::rpc::receive_buffer;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use flow::Flow;
use weather::Sky;

pub use weather::{Direction, Hole, Weather};

/// A running relay; dropping it ends it.
pub struct Relay {
    /// `127.0.0.1:port`: what clients take for the server.
    pub address: String,
    sky: Arc<Sky>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts one towards the server at `host:port`. What the weather does follows from the seed and from the order in
    /// which packets arrive.
    pub fn start(server: &str, seed: u64) -> Result<Self> {
        let server: SocketAddr = server.parse().context("the server's address")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(async { socket() })?;
        let address = listener.local_addr()?.to_string();
        let sky = Arc::new(Sky::new(seed));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("relay".into()).spawn({
            let sky = sky.clone();
            move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = relay(listener, server, sky) => {}
                        _ = stopped => {}
                    }
                });
            }
        })?;
        Ok(Self { address, sky, stop: Some(stop), thread: Some(thread) })
    }

    /// From now on packets have this weather.
    pub fn set_weather(&self, weather: Weather) {
        self.sky.set_weather(weather);
    }

    /// From now on packets of these directions vanish without a trace.
    pub fn set_hole(&self, hole: Hole) {
        self.sky.set_hole(hole);
    }

    /// Only so many more bytes pass in this direction; then both directions lead nowhere, until the hole is closed.
    pub fn set_allowance(&self, direction: Direction, bytes: usize) {
        self.sky.set_allowance(direction, bytes);
    }

    /// Whether the allowance is used up.
    pub fn has_run_dry(&self) -> bool {
        self.sky.hole() == Hole::Both
    }

    /// From now on the server sees all clients at other ports; what it sends to the old ones is lost.
    pub fn change_addresses(&self) {
        self.sky.change_addresses();
    }

    /// Bytes of the packets that passed so far, in both directions.
    pub fn passed(&self) -> u64 {
        self.sky.passed()
    }

    /// Packets that were swallowed so far, by weather or hole.
    pub fn lost(&self) -> u64 {
        self.sky.lost()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn relay(listener: Arc<UdpSocket>, server: SocketAddr, sky: Arc<Sky>) {
    let mut flows: HashMap<SocketAddr, mpsc::UnboundedSender<Vec<u8>>> = HashMap::new();
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        // An error is about a client that has gone.
        let Ok((length, client)) = listener.recv_from(&mut buffer).await else { continue };
        let flow = flows.entry(client).or_insert_with(|| {
            let (packets_tx, packets) = mpsc::unbounded_channel();
            let flow = Flow { listener: listener.clone(), client, server, sky: sky.clone() };
            tokio::spawn(flow.run(packets));
            packets_tx
        });
        let _ = flow.send(buffer[..length].to_vec());
    }
}

/// One that drops nothing by itself: that is for the weather.
fn socket() -> io::Result<Arc<UdpSocket>> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    receive_buffer::widen(&socket)?;
    socket.set_nonblocking(true)?;
    Ok(Arc::new(UdpSocket::from_std(socket)?))
}

const LARGEST_DATAGRAM: usize = 65_536;
