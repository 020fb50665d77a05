//! Where datagrams wait in the kernel until somebody reads them.

use std::io;
use std::net::UdpSocket;

use socket2::SockRef;

/// What a socket asks for, in bytes. The usual default of 208 KiB holds a hundred full packets: what a thousand devices answer
/// to one message does not fit, and each datagram that is dropped costs its sender a timeout.
pub const WANTED: usize = 4 * 1024 * 1024;

/// Asks for [`WANTED`] bytes and answers how many the system grants (on Linux at most `net.core.rmem_max`). What a system has
/// by itself is not made smaller.
///
/// # Errors
/// When the socket does not say.
pub fn widen(socket: &UdpSocket) -> io::Result<usize> {
    let socket = SockRef::from(socket);
    if granted(&socket)? < WANTED {
        // Some systems refuse more than they have, others cut it down.
        let _ = socket.set_recv_buffer_size(WANTED);
    }
    granted(&socket)
}

fn granted(socket: &SockRef<'_>) -> io::Result<usize> {
    let size = socket.recv_buffer_size()?;
    // Linux doubles what it is asked for, for its own bookkeeping, and says so.
    Ok(if cfg!(target_os = "linux") { size / 2 } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_as_far_as_the_system_allows() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = granted(&SockRef::from(&socket)).unwrap();
        let after = widen(&socket).unwrap();
        assert!(after >= before);
        #[cfg(target_os = "linux")]
        {
            let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
            assert_eq!(after, most.trim().parse::<usize>().unwrap().min(WANTED).max(before));
        }
        assert_eq!(widen(&socket).unwrap(), after);
    }
}
