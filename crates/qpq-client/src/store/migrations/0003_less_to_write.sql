-- Taking a text apart for the index of words costs more than all else about a message, so that is done when there is time.
-- These messages are not in the index yet, or not as they are now.
CREATE TABLE unindexed (
    place INTEGER PRIMARY KEY
);
-- One index finds messages by their id, with and without their sender: ids are random, and each index in their order costs
-- every message a page of its own.
CREATE TABLE messages_3 (
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
    UNIQUE (conversation, id, sender)
);
INSERT INTO messages_3 (place, conversation, number, id, seq, sender, device, sent_at, received_at, status, reason, held,
                        text, content, expires_at)
    SELECT place, conversation, number, id, seq, sender, device, sent_at, received_at, status, reason, held, text,
           content, expires_at
    FROM messages ORDER BY place;
DROP TABLE messages; -- with its triggers and indexes
ALTER TABLE messages_3 RENAME TO messages;
CREATE INDEX messages_by_place ON messages (conversation, ifnull(seq, 9223372036854775807), number);
CREATE INDEX messages_by_number ON messages (conversation, number);
CREATE INDEX messages_held ON messages (sender) WHERE held = 1;
CREATE INDEX messages_expiring ON messages (expires_at) WHERE expires_at IS NOT NULL;

CREATE TRIGGER words_inserted AFTER INSERT ON messages BEGIN
    INSERT INTO unindexed (place) VALUES (new.place);
END;
-- The index must be told of what it knows, and of nothing else, with the text that it was given.
CREATE TRIGGER words_deleted AFTER DELETE ON messages BEGIN
    INSERT INTO words (words, rowid, text)
        SELECT 'delete', old.place, old.text WHERE NOT EXISTS (SELECT 1 FROM unindexed WHERE place = old.place);
    DELETE FROM unindexed WHERE place = old.place;
END;
CREATE TRIGGER words_updated AFTER UPDATE OF text ON messages WHEN old.text <> new.text BEGIN
    INSERT INTO words (words, rowid, text)
        SELECT 'delete', old.place, old.text WHERE NOT EXISTS (SELECT 1 FROM unindexed WHERE place = old.place);
    INSERT OR IGNORE INTO unindexed (place) VALUES (new.place);
END;
