@0xd1c2a7f0b3e49106;
# Logs and cursors: how everything reaches a device.

using Ids = import "ids.capnp";

interface Delivery {
  # `inPush`: the device understands `caughtUp` in a push, and needs no call of its own for it.
  open @0 (sink :EventSink, inPush :Bool) -> (stream :Stream);
}

interface Stream {
  # `known`: entries that the device has taken, newest first, by which both notice that one of them was set back.
  subscribe @0 (log :LogId, after :UInt64, known :List(Mark)) -> (reply :SubscribeReply);
  # Everything up to these positions is stored on the device; the server may forget it.
  acknowledge @1 (positions :List(Position)) -> ();
}

interface EventSink {
  # `caughtUp`: as the call of that name, with these entries; 0 says nothing.
  push @0 (entries :List(Entry), caughtUp :UInt32) -> stream;
  # Nothing more is waiting in the logs of the first `subscriptions` subscribe calls.
  caughtUp @1 (subscriptions :UInt32) -> ();
  # Every 20 seconds; an answer is expected, so that both sides notice a dead stream.
  heartbeat @2 (heads :List(Position)) -> ();
  keyPackagesLow @3 (left :UInt32) -> ();
  # What a member's device whispers to those that are online.
  whisper @4 (group :Data, payload :Data) -> ();
}

struct LogId {
  union {
    inbox @0 :Void;
    group @1 :Data;
  }
}

struct Position {
  log @0 :LogId;
  seq @1 :UInt64;
}

struct Mark {
  seq @0 :UInt64;
  digest @1 :UInt64;       # the first 8 bytes of the SHA-256 of the payload, big-endian
}

struct SubscribeReply {
  union {
    refused @0 :Ids.Refusal;
    head @1 :UInt64;
  }
  from @2 :UInt64;         # where it begins: before `after` when the server does not have what the device has
  acknowledged @3 :UInt64; # the last position that the device has acknowledged in this stay, 0 for none
  epoch @4 :UInt64;        # of a group
  context @5 :UInt64;      # the first 8 bytes of the SHA-256 of its GroupContext, big-endian: tells forks apart
  joined @6 :UInt64;       # where the device's present stay in the group begins: after it, nothing is left out
}

struct Entry {
  log @0 :LogId;
  seq @1 :UInt64;
  atMs @2 :UInt64;         # when the server accepted it
  kind @3 :Kind;
  payload @4 :Data;        # empty in an echo
  echo @5 :Data;           # instead of it: the SHA-256 of a payload that the device sent over this connection, and keeps

  enum Kind { message @0; commit @1; proposal @2; welcome @3; }
}
