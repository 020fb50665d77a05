-- Welcomes are larger than a quarter of a page. As the rows of an index they were read, all of them that a search passes, for
-- every comparison; now the index has the positions alone, and what is added goes to the end.
CREATE TABLE inbox_by_id (
    id      INTEGER PRIMARY KEY,
    device  BLOB NOT NULL REFERENCES inboxes ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    payload BLOB NOT NULL
);
INSERT INTO inbox_by_id (device, seq, kind, at, payload)
    SELECT device, seq, kind, at, payload FROM inbox ORDER BY at, device, seq;
DROP TABLE inbox;
ALTER TABLE inbox_by_id RENAME TO inbox;
CREATE UNIQUE INDEX inbox_by_device ON inbox (device, seq);
CREATE INDEX inbox_by_age ON inbox (at);
