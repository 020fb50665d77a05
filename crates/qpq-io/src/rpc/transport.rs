//! QUIC transport settings, for both ends.

use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// One stream is used for RPC; the rest are for what may come. Each allowed stream costs memory while idle.
const MAX_STREAMS: u32 = 16;

/// Bytes that a peer may send ahead on one stream. Larger messages flow through it; at 100 ms round trip it allows 5 MB/s.
const STREAM_WINDOW: u32 = 512 * 1024;

/// Bytes that a peer may send ahead on all streams of a connection, and that we keep until they are acknowledged.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Well below the lifetime of a NAT binding for UDP (30 s and more).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Three lost keep-alives.
const CLIENT_IDLE: Duration = Duration::from_secs(45);

/// Packets that may come before one is acknowledged (draft-ietf-quic-ack-frequency), instead of two: an acknowledgement alone
/// costs both ends as much as a message.
const PACKETS_PER_ACK: u32 = 5;

/// Of packet sizes that are tried, in bytes. With less than that quinn begins in the middle and takes four steps to the 1452
/// bytes that nearly every path carries; with this it begins there, and then tries what fits into a tunnel.
const MTU_STEP: u16 = 127;

pub(super) fn server(idle: IdleTimeout) -> Arc<TransportConfig> {
    let mut config = common();
    config.max_idle_timeout(Some(idle)).max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS));
    Arc::new(config)
}

pub(super) fn client() -> Arc<TransportConfig> {
    let idle = IdleTimeout::try_from(CLIENT_IDLE).expect("45 s fit into a QUIC idle timeout");
    let mut config = common();
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0));
    Arc::new(config)
}

fn common() -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(PACKETS_PER_ACK - 1));
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.minimum_change(MTU_STEP);
    config
        .ack_frequency_config(Some(acks))
        .mtu_discovery_config(Some(mtu))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .datagram_receive_buffer_size(None);
    config
}
