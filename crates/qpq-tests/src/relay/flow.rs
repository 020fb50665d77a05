//! The packets of one client, both ways.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::LARGEST_DATAGRAM;
use super::weather::{Direction, Sky};

pub struct Flow {
    pub listener: Arc<UdpSocket>,
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub sky: Arc<Sky>,
}

impl Flow {
    /// Runs until `packets`, which come from the client, end.
    pub async fn run(self, mut packets: mpsc::UnboundedReceiver<Vec<u8>>) {
        let mut address_changes = self.sky.address_changes();
        let mut towards_server = open();
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        loop {
            tokio::select! {
                packet = packets.recv() => {
                    let Some(packet) = packet else { return };
                    self.pass(Direction::ToServer, packet, towards_server.clone(), self.server);
                }
                received = towards_server.recv_from(&mut buffer) => {
                    // An error is about a server that is restarting.
                    let Ok((length, _)) = received else { continue };
                    self.pass(Direction::ToClient, buffer[..length].to_vec(), self.listener.clone(), self.client);
                }
                changed = address_changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    towards_server = open();
                }
            }
        }
    }

    /// Sends as many copies as the weather allows, each when it allows.
    fn pass(&self, direction: Direction, packet: Vec<u8>, socket: Arc<UdpSocket>, to: SocketAddr) {
        for delay in self.sky.copies(direction, packet.len()) {
            let (packet, socket) = (packet.clone(), socket.clone());
            tokio::spawn(async move {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                let _ = socket.send_to(&packet, to).await;
            });
        }
    }
}

fn open() -> Arc<UdpSocket> {
    super::socket().expect("loopback has a free port")
}
