@0xd1c2a7f0b3e49108;
# The caller's own account: its devices, its password, its recovery, its end. And what two devices of one person say to each
# other when one takes in the other, which the server passes on and cannot read.

using Ids = import "ids.capnp";
using Keys = import "keys.capnp";

interface OwnAccount {
  # The manifest after the one that is stored. Devices that it does not list any more are locked out at once.
  updateManifest @0 (manifest :Data) -> (reply :UpdateReply);
  # OPAQUE twice: a login with the old password, and a registration of the new one.
  changePassword @1 (login :Data, registration :Data) -> (reply :PasswordReply);
  # `key` proves who has the recovery phrase (Ed25519, 32 bytes), `record` is sealed under it; both empty: no recovery.
  setRecovery @2 (key :Data, record :Data) -> (reply :DoneReply);
  # Forgets the account and everything about it.
  delete @3 () -> (reply :DoneReply);
}

struct DoneReply {
  union {
    refused @0 :Ids.Refusal;
    done @1 :Void;
  }
}

struct UpdateReply {
  union {
    refused @0 :Ids.Refusal;
    accepted @1 :Void;
    superseded @2 :Void;   # another device was faster: look at the newest manifest and sign anew
  }
}

struct PasswordReply {
  union {
    refused @0 :Ids.Refusal;
    ok :group {
      login @1 :Data;
      registration @2 :Data;
      next @3 :PasswordChange;
    }
  }
}

interface PasswordChange {
  finish @0 (login :Data, registration :Data) -> (reply :DoneReply);
}

# The messages of a link, in their order. Each is there once.
enum LinkStep { offer @0; hello @1; reveal @2; bundle @3; }

# From the new device, sealed under the secret in the link code.
struct LinkOffer {
  format @0 :UInt16;
  device @1 :Keys.Device;
  commitment @2 :Data;     # SHA-256 of the nonce that `reveal` is
}

# From the device that takes it in, sealed likewise.
struct LinkHello {
  format @0 :UInt16;
  name @1 :Text;
  manifest @2 :Data;       # a SignedManifest
  device @3 :Data;         # which of its devices this is
  nonce @4 :Data;          # 32 random bytes
}

# Sealed to the new device's envelope key.
struct LinkBundle {
  format @0 :UInt16;
  identityKeys @1 :Data;   # both seeds, 64 bytes
  manifest @2 :Data;       # the one that lists the new device
  domain @3 :Text;
  contacts @4 :List(LinkedContact);
  groups @5 :List(LinkedGroup);
  signature @6 :Data;      # Ed25519 by the device of the hello, over the transcript and all other fields
  silent @7 :Bool;         # no receipts and no typing notices
  history @8 :LinkedHistory; # null: the new device begins without
}

# Where the archive of earlier messages is being uploaded to, and what opens it.
struct LinkedHistory {
  blob @0 :Data;
  key @1 :Data;            # 32 bytes
  sha256 @2 :Data;         # of the plain archive
  size @3 :UInt64;         # of the plain archive
}

struct LinkedContact {
  identity @0 :Data;
  name @1 :Text;           # empty: none is known
  trust @2 :Trust;
  known @3 :Bool;          # by own choice: what they begin is no request
  blocked @4 :Bool;
  enum Trust { unverified @0; verified @1; rejected @2; }
}

struct LinkedGroup {
  group @0 :Data;
  nameKey @1 :Data;        # 32 bytes
  muted @2 :Bool;
  requestedBy @3 :Data;    # the stranger who began it, while it is not accepted; or empty
  lastNumber @4 :UInt64;   # with a history: numbers up to here are taken by what is in it
}
