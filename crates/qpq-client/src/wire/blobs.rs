//! Parts of files, each as one call.

use futures::future::LocalBoxFuture;
use qpq_proto::Malformed;
use qpq_proto::blobs::PART;
use qpq_proto::code::Refusal;
use qpq_proto::generated::blobs_capnp::{bytes_reply, received_reply};
use qpq_proto::ids::BlobId;
use qpq_proto::read;

use super::call::{bad_answer, refused};
use super::{Session, failed};

/// What a transfer asks of the server.
#[derive(Clone, PartialEq, Eq)]
pub enum BlobCall {
    Begin { blob: BlobId, size: u64 },
    Put { blob: BlobId, offset: u64, bytes: Vec<u8> },
    Get { blob: BlobId, offset: u64, length: u32 },
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobAnswer {
    /// Bytes that are on the server's disk.
    Received(u64),
    Bytes(Vec<u8>),
}

/// Sends the call before it returns. None: the connection is gone.
pub fn blob_call(session: &Session, call: &BlobCall) -> LocalBoxFuture<'static, Option<Result<BlobAnswer, Refusal>>> {
    macro_rules! answer {
        ($call:expr, $read:expr) => {{
            let sent = $call.send();
            Box::pin(async move {
                match sent.promise.await {
                    Ok(response) => Some(match response.get().and_then(|reader| reader.get_reply()) {
                        Ok(reply) => $read(reply).unwrap_or_else(|error: Malformed| Err(bad_answer(&error))),
                        Err(error) => Err(bad_answer(&error.into())),
                    }),
                    Err(error) if error.kind == capnp::ErrorKind::Disconnected => None,
                    Err(error) => Some(Err(failed(&error))),
                }
            })
        }};
    }
    match call {
        BlobCall::Begin { blob, size } => {
            let mut call = session.blobs.begin_request();
            call.get().set_blob(&blob.0);
            call.get().set_size(*size);
            answer!(call, received)
        }
        BlobCall::Put { blob, offset, bytes } => {
            let mut call = session.blobs.put_request();
            call.get().set_blob(&blob.0);
            call.get().set_offset(*offset);
            call.get().set_bytes(bytes);
            answer!(call, received)
        }
        BlobCall::Get { blob, offset, length } => {
            let mut call = session.blobs.get_request();
            call.get().set_blob(&blob.0);
            call.get().set_offset(*offset);
            call.get().set_length(*length);
            answer!(call, part)
        }
    }
}

type Answer = Result<Result<BlobAnswer, Refusal>, Malformed>;

fn received(reply: received_reply::Reader<'_>) -> Answer {
    Ok(match reply.which()? {
        received_reply::Refused(reader) => Err(refused(reader)?),
        received_reply::Received(received) => Ok(BlobAnswer::Received(received)),
    })
}

fn part(reply: bytes_reply::Reader<'_>) -> Answer {
    Ok(match reply.which()? {
        bytes_reply::Refused(reader) => Err(refused(reader)?),
        bytes_reply::Bytes(bytes) => Ok(BlobAnswer::Bytes(read::bytes("get.bytes", bytes, PART)?)),
    })
}
