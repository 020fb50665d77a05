@0xd1c2a7f0b3e49102;
# What a connection that has not proved anything may do. Messages are limited to 64 KiB until a Session is granted.

using Ids = import "ids.capnp";
using Session = import "session.capnp";
using Account = import "account.capnp";

interface Gateway {
  hello @0 (protocol :UInt16, client :Text) -> (server :ServerHello);
  register @1 (name :Text, invite :Text, opaque :Data) -> (reply :RegisterReply);
  login @2 (name :Text, opaque :Data) -> (reply :LoginReply);
  resume @3 (device :Data, proof :Data) -> (reply :SessionReply);
  # A mailbox in which two devices of one person find each other. Whoever knows its id may use it; what is in it is sealed.
  linkPut @4 (mailbox :Data, step :Account.LinkStep, data :Data) -> (reply :Account.DoneReply);
  # Waits a while for this step.
  linkTake @5 (mailbox :Data, step :Account.LinkStep) -> (reply :LinkReply);
  # With the recovery phrase: `proof` is a signature of the recovery key over this connection's exporter, `opaque` registers
  # a new password.
  recover @6 (name :Text, proof :Data, opaque :Data) -> (reply :RecoverReply);
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

struct LinkReply {
  union {
    refused @0 :Ids.Refusal;
    data @1 :Data;
    waiting @2 :Void;      # not yet: ask again
  }
}

struct RecoverReply {
  union {
    refused @0 :Ids.Refusal;
    ok :group {
      opaque @1 :Data;
      record @2 :Data;     # as it was given to setRecovery
      manifest @3 :Data;   # the newest one: the next follows it
      next @4 :Recovery;
    }
  }
}

interface Recovery {
  finish @0 (opaque :Data, manifest :Data, device :Data, proof :Data) -> (reply :SessionReply);
}

interface Login {
  finish @0 (opaque :Data, device :Data, proof :Data) -> (reply :SessionReply);
}
