@0xd1c2a7f0b3e49104;
# The directory of accounts, the signed device manifests, and key packages.

using Ids = import "ids.capnp";

interface Directory {
  byName @0 (name :Text) -> (reply :AccountReply);
  byIdentity @1 (identity :Data) -> (reply :AccountReply);
}

struct AccountReply {
  union {
    refused @0 :Ids.Refusal;
    account @1 :Account;
  }
}

struct Account {
  name @0 :Text;
  manifest @1 :Data;       # a SignedManifest
}

interface KeyPackages {
  publish @0 (oneTime :List(Data), lastResort :List(Data)) -> (reply :StockReply);
  # One key package of MLS cipher suite `suite` for each device of the identity.
  claim @1 (identity :Data, suite :UInt16) -> (reply :ClaimReply);
}

struct StockReply {
  union {
    refused @0 :Ids.Refusal;
    stock @1 :UInt32;      # one-time key packages that are left now
  }
}

struct ClaimReply {
  union {
    refused @0 :Ids.Refusal;
    packages @1 :List(Data); # one per device of the identity
  }
}

# What the identity keys sign: `body` is an encoded ManifestBody.
struct SignedManifest {
  body @0 :Data;
  ed25519 @1 :Data;        # 64 bytes
  mlDsa65 @2 :Data;        # 3309 bytes
}

struct ManifestBody {
  format @0 :UInt16;
  version @1 :UInt64;      # grows by one with every manifest
  previous @2 :Data;       # SHA-256 of the SignedManifest before, empty for version 1
  ed25519 @3 :Data;        # 32 bytes
  mlDsa65 @4 :Data;        # 1952 bytes
  devices @5 :List(Device);
  former @6 :List(Data);   # ids of devices that earlier manifests listed, 16 bytes each, the newest last
}

struct Device {
  signatureKey @0 :Data;   # Ed25519, 32 bytes
  envelopeKey @1 :Data;    # X-Wing, 1216 bytes
  name @2 :Text;
}
