@0xd1c2a7f0b3e49105;
# Groups as the delivery service sees them: public MLS state, opaque payloads.

using Ids = import "ids.capnp";

interface Groups {
  # `keeps`: the device holds on to what it sends to the log until that comes back over this connection as an entry, which
  # may then have the hash alone.
  create @0 (group :NewGroup, keeps :Bool) -> (reply :CreateReply);
  commit @1 (group :Data, commit :Commit, keeps :Bool) -> (reply :CommitReply);
  post @2 (group :Data, post :Post, keeps :Bool) -> (reply :PostReply);
  leave @3 (group :Data, epoch :UInt64, proposal :Data, keeps :Bool) -> (reply :PostReply);
  tree @4 (group :Data, epoch :UInt64) -> (reply :TreeReply);
  # What a device of a member needs to come back by an external commit.
  rejoin @5 (group :Data) -> (reply :RejoinReply);
  # Groups that the caller's device is in, or another device of its identity.
  memberships @6 () -> (reply :MembershipsReply);
  # Reaches the members' devices that are online now, and is stored nowhere.
  whisper @7 (group :Data, payload :Data) -> ();
}

struct NewGroup {
  groupInfo @0 :Data;      # MLSMessage(GroupInfo) of epoch 0, without the tree
  ratchetTree @1 :Data;
  first @2 :Commit;        # the commit that adds the first members; null for a group of one
}

struct Commit {
  expectedEpoch @0 :UInt64;
  commit @1 :Data;         # MLSMessage(PublicMessage)
  groupInfo @2 :Data;      # MLSMessage(GroupInfo) after the commit, without the tree
  welcomes @3 :List(SealedWelcome);
  # Of a commit from outside: what rejoinInfo said of it. It is superseded if others have posted since that they leave, for
  # whoever comes in does not read what was posted before.
  leaving @4 :List(Data);
}

struct SealedWelcome {
  device @0 :Data;         # 16 bytes
  envelope @1 :Data;
}

struct Post {
  epoch @0 :UInt64;
  payload @1 :Data;        # MLSMessage(PrivateMessage)
  expiresAtMs @2 :UInt64;  # 0: kept for the server's retention time
  blobs @3 :List(Data);    # files that it refers to, which are kept as long as it, and have to be there
}

struct CreateReply {
  union {
    refused @0 :Ids.Refusal;
    created @1 :UInt64;    # sequence number of the first commit, 0 without one
    exists @2 :Data;       # the group id of the direct conversation that these two already have
  }
}

struct CommitReply {
  union {
    refused @0 :Ids.Refusal;
    accepted @1 :UInt64;   # sequence number in the group's log
    superseded @2 :Head;
  }
}

struct PostReply {
  union {
    refused @0 :Ids.Refusal;
    accepted @1 :UInt64;
    staleEpoch @2 :Head;
  }
}

struct TreeReply {
  union {
    refused @0 :Ids.Refusal;
    ratchetTree @1 :Data;
  }
}

struct RejoinReply {
  union {
    refused @0 :Ids.Refusal;
    info @1 :RejoinInfo;
  }
}

struct RejoinInfo {
  groupInfo @0 :Data;      # MLSMessage(GroupInfo) of the current epoch, without the tree
  ratchetTree @1 :Data;
  leaving @2 :List(Data);  # devices that have posted that they leave
}

struct MembershipsReply {
  union {
    refused @0 :Ids.Refusal;
    groups @1 :List(Data);
  }
  # In the same order: what the caller's device has acknowledged of its present stay; 0 for nothing.
  acknowledged @2 :List(UInt64);
  # Likewise: whether the caller's device itself is in.
  inside @3 :List(Bool);
}

struct Head {
  epoch @0 :UInt64;
  seq @1 :UInt64;
}

# The value of component 0xF051 in the group context's app-data dictionary. Members and server enforce it alike.
struct GroupState {
  format @0 :UInt16;
  kind @1 :Kind;
  admins @2 :List(Data);   # identity ids, 32 bytes each, ascending
  add @3 :Who;
  remove @4 :Who;
  rename @5 :Who;
  name @6 :Data;           # nonce and ciphertext under a key that the server never has
  nameKey @7 :Data;        # that key, wrapped for the members of the epoch before; empty at creation
  expiresAfterMs @8 :UInt64; # how long messages stay; 0: for ever

  enum Kind { group @0; direct @1; }
  enum Who { admins @0; members @1; }
}
