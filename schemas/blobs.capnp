@0xc05f1c0da9f7a0d8;
# Files as the server keeps them: encrypted bytes under a random id that only whoever may have them knows.

using Ids = import "ids.capnp";

interface Blobs {
  # Makes room for a blob, or tells how much of it is there already; the size is that of all its parts together.
  begin @0 (blob :Data, size :UInt64) -> (reply :ReceivedReply);
  # One part, in order, from its uploader: 65552 bytes, the last one what is left. One that is there already changes nothing.
  put @1 (blob :Data, offset :UInt64, bytes :Data) -> (reply :ReceivedReply);
  # For whoever knows the id, once the blob is complete. Fewer bytes than asked for only where it ends.
  get @2 (blob :Data, offset :UInt64, length :UInt32) -> (reply :BytesReply);
}

struct ReceivedReply {
  union {
    refused @0 :Ids.Refusal;
    received @1 :UInt64;   # bytes that are on the server's disk, from the beginning
  }
}

struct BytesReply {
  union {
    refused @0 :Ids.Refusal;
    bytes @1 :Data;
  }
}
