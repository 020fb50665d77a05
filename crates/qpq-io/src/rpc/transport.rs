//! QUIC transport settings, for both ends.

use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// One stream is used for RPC. What came in on others would be kept and never read.
const MAX_STREAMS: u32 = 1;

/// Bytes that a peer may send ahead on one stream. Larger messages flow through it; at 100 ms round trip it allows 5 MB/s.
const STREAM_WINDOW: u32 = 512 * 1024;

/// Bytes that a peer may send ahead on all streams of a connection, and that we keep until they are acknowledged.
pub(super) const CONNECTION_WINDOW: VarInt = VarInt::from_u32(1024 * 1024);

/// The same for a client that has not shown who it is: some of the small messages that it may send.
const STRANGERS_WINDOW: u32 = 128 * 1024;

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
    config
        .max_idle_timeout(Some(idle))
        .receive_window(VarInt::from_u32(STRANGERS_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS));
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
        .receive_window(CONNECTION_WINDOW)
        .send_window(CONNECTION_WINDOW.into_inner())
        .datagram_receive_buffer_size(None);
    config
}
