//! A file descriptor that tells an event loop that there are events.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::client::Client;
use crate::error::Error;

/// Readable when there may be events that were not looked for since [`Self::clear`]. Once made, it is.
pub struct Readiness {
    reader: UnixStream,
    bell: Arc<Bell>,
}

impl Readiness {
    /// Begins to watch a client's events.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn new(client: &Client) -> Result<Self, Error> {
        let pair = UnixStream::pair().and_then(|(reader, writer)| {
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok((reader, writer))
        });
        let (reader, writer) = pair.map_err(|error| Error::Store(format!("no file descriptor: {error}")))?;
        let bell = Arc::new(Bell(writer));
        client.shared().add_bell(&bell);
        bell.ring();
        Ok(Self { reader, bell })
    }

    /// Not readable any more until something happens. To be called before looking for events: what happens in between then
    /// makes it readable again.
    pub fn clear(&self) {
        let mut rung = [0; 256];
        loop {
            match (&self.reader).read(&mut rung) {
                Ok(read) if read == rung.len() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Readable, because there may be more than what was looked at.
    pub fn set(&self) {
        self.bell.ring();
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// What is rung when something has happened.
pub struct Bell(UnixStream);

impl Bell {
    /// One that nobody has listened to yet needs no more: a full buffer is readable, too.
    pub fn ring(&self) {
        let _ = (&self.0).write(&[1]);
    }
}
