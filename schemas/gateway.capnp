@0xd1c2a7f0b3e49102;
# What a connection that has not proved anything may do. Messages are limited to 64 KiB until a Session is granted.

using Ids = import "ids.capnp";
using Session = import "session.capnp";

interface Gateway {
  hello @0 (protocol :UInt16, client :Text) -> (server :ServerHello);
  register @1 (name :Text, invite :Text, opaque :Data) -> (reply :RegisterReply);
  login @2 (name :Text, opaque :Data) -> (reply :LoginReply);
  resume @3 (device :Data, proof :Data) -> (reply :SessionReply);
}

struct ServerHello {
  protocol @0 :UInt16;
  domain @1 :Text;
  software @2 :Text;
  # Another number each time that the server is restored from a backup: it may have forgotten what devices know.
  incarnation @3 :UInt64;
  # The server's clock, by which messages disappear.
  nowMs @4 :UInt64;
}

struct RegisterReply {
  union {
    refused @0 :Ids.Refusal;
    ok :group {
      opaque @1 :Data;
      next @2 :Registration;
    }
  }
}

struct LoginReply {
  union {
    refused @0 :Ids.Refusal;
    ok :group {
      opaque @1 :Data;
      next @2 :Login;
    }
  }
}

struct SessionReply {
  union {
    refused @0 :Ids.Refusal;
    session @1 :Session.Session;
  }
}

# The OPAQUE state between two messages is the object itself; there is no table of half-finished logins.
interface Registration {
  finish @0 (opaque :Data, manifest :Data, device :Data, proof :Data) -> (reply :SessionReply);
}

interface Login {
  finish @0 (opaque :Data, device :Data, proof :Data) -> (reply :SessionReply);
}
