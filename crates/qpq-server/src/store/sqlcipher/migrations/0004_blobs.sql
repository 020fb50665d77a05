-- Encrypted files. Nothing but its uploader's identity, its padded size and its age is known of one.
CREATE TABLE blobs (
    id         INTEGER PRIMARY KEY,
    name       BLOB NOT NULL UNIQUE,        -- hash of the id that fetches it
    owner      BLOB NOT NULL,
    size       INTEGER NOT NULL,
    received   INTEGER NOT NULL DEFAULT 0,  -- bytes in its parts
    keep_until INTEGER NOT NULL             -- grows with every message that refers to it
);
CREATE INDEX blobs_by_owner ON blobs (owner, size);
CREATE INDEX blobs_by_end ON blobs (keep_until);

-- The id is made of the blob's number and the part's (number << 32 | part), so that a blob's parts lie together.
CREATE TABLE blob_parts (
    id    INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
);
