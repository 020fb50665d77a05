-- An index in the order of hashes costs every message a page of its own to read, encrypt and flush. Handshakes keep it,
-- they are few. Those of messages are kept in memory, and loaded from an index that grows at its end.
DROP INDEX log_by_hash;
CREATE UNIQUE INDEX log_handshakes_by_hash ON log (group_no, hash) WHERE kind <> 0;
CREATE INDEX log_messages ON log (group_no, seq, hash) WHERE kind = 0;
