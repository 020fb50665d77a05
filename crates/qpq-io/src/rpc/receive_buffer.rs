//! Where datagrams wait in the kernel until somebody reads them.

use std::io;
use std::net::UdpSocket;

use socket2::SockRef;

/// What a socket asks for, in bytes. The usual default of 208 KiB holds a hundred full packets: what a thousand devices answer
/// to one message does not fit, and each datagram that is dropped costs its sender a timeout.
pub const WANTED: usize = 4 * 1024 * 1024;

/// Asks for [`WANTED`] bytes, of which the system may grant less, and answers whether it grants them all. A buffer is never
/// made smaller than it was.
///
/// # Errors
/// When the socket does not say what it has.
pub fn widen(socket: &UdpSocket) -> io::Result<bool> {
    let socket = SockRef::from(socket);
    let granted = WANTED.min(most());
    if booked(granted) > socket.recv_buffer_size()? {
        // Some systems refuse what is more than they allow, others cut it down.
        let _ = socket.set_recv_buffer_size(granted);
    }
    Ok(socket.recv_buffer_size()? >= booked(WANTED))
}

/// What a socket has when it was granted so much: Linux doubles it, for its own bookkeeping.
fn booked(granted: usize) -> usize {
    if cfg!(target_os = "linux") { granted.saturating_mul(2) } else { granted }
}

/// What Linux grants at most; other systems do not say.
fn most() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max").ok();
    limit.and_then(|limit| limit.trim().parse().ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_as_far_as_the_system_allows() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let size = || SockRef::from(&socket).recv_buffer_size().expect("a size");
        let before = size();
        let is_all = widen(&socket).expect("a size");
        assert!(size() >= before);
        if cfg!(target_os = "linux") {
            assert_eq!(size(), booked(WANTED.min(most())).max(before));
        }
        assert_eq!(is_all, size() >= booked(WANTED));
        let after = size();
        assert_eq!((widen(&socket).expect("a size"), size()), (is_all, after));
    }
}
