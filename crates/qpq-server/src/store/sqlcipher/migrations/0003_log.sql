-- A table without rowids keeps whole rows in its inner pages too, which is for small rows. Here a row's id is made of the
-- group's number and the sequence number (number << 32 | seq), so that a group's entries still lie together.
CREATE TABLE log_by_id (
    id       INTEGER PRIMARY KEY,
    group_no INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    seq      INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    expires  INTEGER,
    hash     BLOB NOT NULL,
    payload  BLOB
);
INSERT INTO log_by_id (id, group_no, seq, kind, epoch, at, expires, hash, payload)
    SELECT group_no << 32 | seq, group_no, seq, kind, epoch, at, expires, hash, payload FROM log ORDER BY group_no, seq;
DROP TABLE log;
ALTER TABLE log_by_id RENAME TO log;

CREATE INDEX log_by_expiry ON log (expires) WHERE expires IS NOT NULL AND payload IS NOT NULL;
CREATE INDEX log_commits ON log (group_no, epoch) WHERE kind = 1 AND payload IS NOT NULL;

-- An index in the order of hashes costs every message a page of its own to read, encrypt and flush. Handshakes have one,
-- they are few. Those of messages are kept in memory, and loaded from an index that grows at its end.
CREATE UNIQUE INDEX log_handshakes ON log (group_no, hash) WHERE kind <> 0;
CREATE INDEX log_messages ON log (group_no, seq, hash) WHERE kind = 0;
