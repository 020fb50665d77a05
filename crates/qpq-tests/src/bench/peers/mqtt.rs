//! As much of MQTT 3.1.1 as it takes to publish with quality of service 1.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Subscribed to a topic of its own name.
pub struct MqttClient {
    stream: BufReader<TcpStream>,
    next: u16,
}

/// Types of packets, with their fixed flags (section 2.2).
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

impl MqttClient {
    pub async fn connect(address: SocketAddr, name: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::new(stream), next: 1 };
        let clean_session_without_keep_alive = [2, 0, 0];
        let connect = [&string("MQTT")[..], &[4], &clean_session_without_keep_alive, &string(name)].concat();
        client.write(CONNECT, &connect).await?;
        let (kind, answer) = client.read().await?;
        ensure!(kind == CONNACK && answer == [0, 0], "the connection was refused");
        client.write(SUBSCRIBE, &[&[0, 1][..], &string(name), &[1]].concat()).await?;
        let (kind, answer) = client.read().await?;
        ensure!(kind == SUBACK && answer == [0, 1, 1], "the subscription was refused");
        Ok(client)
    }

    pub async fn publish(&mut self, to: &str, text: &str) -> Result<()> {
        self.next = self.next.checked_add(1).unwrap_or(1);
        let packet = [&string(to)[..], &self.next.to_be_bytes(), text.as_bytes()].concat();
        self.write(PUBLISH_QOS_1, &packet).await
    }

    pub async fn acknowledged(&mut self) -> Result<()> {
        let (kind, packet) = self.read().await?;
        ensure!(kind == PUBACK && packet == self.next.to_be_bytes(), "not the acknowledgement");
        Ok(())
    }

    pub async fn receive(&mut self) -> Result<usize> {
        let (kind, packet) = self.read().await?;
        let [high, low, rest @ ..] = &packet[..] else { bail!("a short packet") };
        let topic = usize::from(u16::from_be_bytes([*high, *low]));
        ensure!(kind & 0xf0 == PUBLISH_QOS_1 & 0xf0 && rest.len() >= topic + 2, "not a message");
        let (id, text) = rest[topic..].split_at(2);
        self.write(PUBACK, id).await?;
        Ok(text.len())
    }

    async fn write(&mut self, kind: u8, packet: &[u8]) -> Result<()> {
        let mut bytes = vec![kind];
        let mut length = packet.len();
        while length >= 128 {
            bytes.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        bytes.push(length as u8);
        bytes.extend(packet);
        Ok(self.stream.write_all(&bytes).await?)
    }

    async fn read(&mut self) -> Result<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            ensure!(shift < 28, "a length without end");
        }
        let mut packet = vec![0; length];
        self.stream.read_exact(&mut packet).await?;
        Ok((kind, packet))
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}
