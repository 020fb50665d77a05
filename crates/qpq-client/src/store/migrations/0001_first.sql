-- Everything of the engine but messages and events: (table number, key) → value. The keys order the rows.
CREATE TABLE kv (
    tab   INTEGER NOT NULL,
    key   BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (tab, key)
);

CREATE TABLE messages (
    conversation BLOB NOT NULL,
    number       INTEGER NOT NULL,
    id           BLOB NOT NULL,
    seq          INTEGER,
    sender       BLOB NOT NULL,
    device       BLOB NOT NULL,
    sent_at      INTEGER NOT NULL,
    received_at  INTEGER NOT NULL,
    -- 0 waiting, 1 sent, 2 failed (with a reason), 3 received
    status       INTEGER NOT NULL,
    reason       TEXT,
    held         INTEGER NOT NULL,
    text         TEXT NOT NULL,
    content      BLOB NOT NULL,
    UNIQUE (conversation, sender, id)
);
CREATE INDEX messages_by_place ON messages (conversation, ifnull(seq, 9223372036854775807), number);
CREATE INDEX messages_by_number ON messages (conversation, number);
CREATE INDEX messages_held ON messages (sender) WHERE held = 1;

CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    event    BLOB NOT NULL
);
