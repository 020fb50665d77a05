-- Messages get a number that stays theirs (the index of words refers to it), and a time at which they disappear.
CREATE TABLE messages_2 (
    place        INTEGER PRIMARY KEY,
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
    expires_at   INTEGER,
    UNIQUE (conversation, sender, id)
);
INSERT INTO messages_2 (conversation, number, id, seq, sender, device, sent_at, received_at, status, reason, held, text,
                        content)
    SELECT conversation, number, id, seq, sender, device, sent_at, received_at, status, reason, held, text, content
    FROM messages ORDER BY rowid;
DROP TABLE messages;
ALTER TABLE messages_2 RENAME TO messages;
CREATE INDEX messages_by_place ON messages (conversation, ifnull(seq, 9223372036854775807), number);
CREATE INDEX messages_by_number ON messages (conversation, number);
CREATE INDEX messages_by_id ON messages (conversation, id);
CREATE INDEX messages_held ON messages (sender) WHERE held = 1;
CREATE INDEX messages_expiring ON messages (expires_at) WHERE expires_at IS NOT NULL;

-- Runs of three letters, so that parts of words are found in every language. What is deleted leaves no trace in it.
CREATE VIRTUAL TABLE words USING fts5(text, content = 'messages', content_rowid = 'place', tokenize = 'trigram');
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
INSERT INTO words (words) VALUES ('rebuild');
CREATE TRIGGER words_inserted AFTER INSERT ON messages BEGIN
    INSERT INTO words (rowid, text) VALUES (new.place, new.text);
END;
CREATE TRIGGER words_deleted AFTER DELETE ON messages BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.place, old.text);
END;
CREATE TRIGGER words_updated AFTER UPDATE OF text ON messages WHEN old.text <> new.text BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.place, old.text);
    INSERT INTO words (rowid, text) VALUES (new.place, new.text);
END;
