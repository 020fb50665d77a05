@0xd1c2a7f0b3e49107;
# What members say to each other inside MLS application messages, after draft-ietf-mimi-content: the server never sees it.

struct Content {
  format @0 :UInt16;
  id @1 :Data;             # 16 random bytes, chosen by the sender
  sentAtMs @2 :UInt64;     # the sender's clock
  inReplyTo @3 :Data;      # a message id, or empty
  expiresAfterMs @4 :UInt64; # 0: does not disappear
  fallback @5 :Text;       # what a client shows that does not know the kind
  body :union {
    text @6 :Text;
    reaction @7 :Reaction;
    edit @8 :Edit;
    delete @9 :Data;       # the message that is taken back
    receipt @10 :Receipt;
    attachment @11 :Attachment;
    # Not for people: a member who came back without the key of the group's name asks for it, and another one tells it.
    askName @12 :Void;
    nameKey @13 :Data;     # 32 bytes
  }
}

struct Reaction {
  target @0 :Data;
  emoji @1 :Text;
  removed @2 :Bool;
}

struct Edit {
  target @0 :Data;
  text @1 :Text;
}

struct Receipt {
  kind @0 :Kind;
  targets @1 :List(Data);
  enum Kind { delivered @0; read @1; }
}

struct Attachment {
  blob @0 :Data;           # 32 random bytes under which the server keeps the encrypted file
  key @1 :Data;            # 32 bytes
  sha256 @2 :Data;         # of the plain file
  size @3 :UInt64;
  name @4 :Text;
  mediaType @5 :Text;
}

# What is sealed to one device's envelope key when it is added to a group.
struct WelcomeBundle {
  format @0 :UInt16;
  group @1 :Data;
  epoch @2 :UInt64;        # the epoch that the Welcome leads into: fetch the tree of this epoch
  welcome @3 :Data;        # MLSMessage(Welcome) for this recipient alone
  nameKey @4 :Data;        # 32 bytes
  sender @5 :Data;         # device id of the adder
  signature @6 :Data;      # Ed25519 by that device over the fields above
}
