-- Server-wide values: the OPAQUE setup, the stateless-reset key.
CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    id               INTEGER PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE,
    identity         BLOB NOT NULL UNIQUE,
    opaque_record    BLOB NOT NULL,
    manifest         BLOB NOT NULL,
    manifest_version INTEGER NOT NULL,
    disabled         INTEGER NOT NULL DEFAULT 0,
    created          INTEGER NOT NULL
);

CREATE TABLE devices (
    device  BLOB PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX devices_by_account ON devices (account);

-- Accounts that were disabled or deleted, so that a running server ends their sessions.
CREATE TABLE account_changes (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    identity BLOB NOT NULL
);

CREATE TABLE invites (
    code_hash BLOB PRIMARY KEY,
    expires   INTEGER NOT NULL,
    used      INTEGER
) WITHOUT ROWID;

-- A claimed one-time package stays as a reference without content until it would have expired: it is never given twice.
CREATE TABLE key_packages (
    id          INTEGER PRIMARY KEY,
    device      BLOB NOT NULL REFERENCES devices ON DELETE CASCADE,
    reference   BLOB NOT NULL UNIQUE,
    package     BLOB,
    suite       INTEGER NOT NULL,
    last_resort INTEGER NOT NULL,
    expires     INTEGER NOT NULL
);
CREATE INDEX key_packages_by_device ON key_packages (device, suite, last_resort, id) WHERE package IS NOT NULL;
CREATE INDEX key_packages_by_expiry ON key_packages (expires);

CREATE TABLE groups (
    id          INTEGER PRIMARY KEY,
    group_id    BLOB NOT NULL UNIQUE,
    creator     BLOB NOT NULL,
    request     BLOB NOT NULL,
    first_seq   INTEGER NOT NULL DEFAULT 0,
    epoch       INTEGER NOT NULL DEFAULT 0,
    head_seq    INTEGER NOT NULL DEFAULT 0,
    kept        INTEGER NOT NULL DEFAULT 0, -- entries that still have a payload
    swept_seq   INTEGER NOT NULL DEFAULT 0, -- up to here no payload is left but those of commits
    direct_pair BLOB UNIQUE,
    -- Key packages in the commits since the newest snapshot expire then, and MLS no longer lets anybody replay them.
    replay_until INTEGER,
    created     INTEGER NOT NULL
);
CREATE INDEX groups_by_replay ON groups (replay_until) WHERE replay_until IS NOT NULL;

CREATE TABLE snapshots (
    id       INTEGER PRIMARY KEY,
    group_no INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    epoch    INTEGER NOT NULL,
    state    BLOB NOT NULL,
    created  INTEGER NOT NULL,
    UNIQUE (group_no, epoch)
);

-- One row per stay: a device that was removed and comes back has two.
CREATE TABLE members (
    group_no   INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    device     BLOB NOT NULL,
    joined_seq INTEGER NOT NULL,
    identity   BLOB NOT NULL,
    left_seq   INTEGER,
    cursor     INTEGER NOT NULL,
    PRIMARY KEY (group_no, device, joined_seq)
) WITHOUT ROWID;
CREATE INDEX members_by_device ON members (device);

CREATE TABLE leaving (
    group_no INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    device   BLOB NOT NULL,
    PRIMARY KEY (group_no, device)
) WITHOUT ROWID;

-- The hash outlives the payload: repeating a request is harmless for as long as the retention time.
CREATE TABLE log (
    group_no INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    seq      INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    expires  INTEGER,
    hash     BLOB NOT NULL,
    payload  BLOB,
    PRIMARY KEY (group_no, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX log_by_hash ON log (group_no, hash);
CREATE INDEX log_by_expiry ON log (expires) WHERE expires IS NOT NULL AND payload IS NOT NULL;
CREATE INDEX log_commits ON log (group_no, epoch) WHERE kind = 1 AND payload IS NOT NULL;

CREATE TABLE inboxes (
    device   BLOB PRIMARY KEY REFERENCES devices ON DELETE CASCADE,
    head_seq INTEGER NOT NULL DEFAULT 0,
    cursor   INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE inbox (
    device  BLOB NOT NULL REFERENCES inboxes ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (device, seq)
) WITHOUT ROWID;
CREATE INDEX inbox_by_age ON inbox (at);
