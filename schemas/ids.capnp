@0xd1c2a7f0b3e49101;
# Error codes and the refusal that every call may answer with. A refusal is an expected outcome and therefore data; a
# Cap'n Proto exception means a bug, an overload or a connection that is gone.

enum Code {
  badRequest @0;          # malformed or out of range; repeating it unchanged is useless
  unsupportedVersion @1;
  wrongCredentials @2;    # wrong password or unknown user: never told apart
  nameTaken @3;
  registrationClosed @4;
  inviteInvalid @5;
  notFound @6;
  forbidden @7;
  rateLimited @8;         # retryAfterMs says when
  tooLarge @9;
  quotaExceeded @10;
  invalid @11;            # well-formed, but refused by the shared trust rules
  deviceUnknown @12;
  accountDisabled @13;
  overloaded @14;
  internal @15;
}

struct Refusal {
  code @0 :Code;
  detail @1 :Text;        # one sentence for a person, free of user data
  retryAfterMs @2 :UInt32; # 0: not time-dependent
}
