@0xd1c2a7f0b3e49103;
# What an authenticated device holds: one capability per right.

using Keys = import "keys.capnp";
using Groups = import "groups.capnp";
using Stream = import "stream.capnp";
using Blobs = import "blobs.capnp";
using Account = import "account.capnp";

struct Session {
  name @0 :Text;            # the account this device belongs to
  directory @1 :Keys.Directory;
  keyPackages @2 :Keys.KeyPackages;
  groups @3 :Groups.Groups;
  delivery @4 :Stream.Delivery;
  blobs @5 :Blobs.Blobs;
  account @6 :Account.OwnAccount;
}
