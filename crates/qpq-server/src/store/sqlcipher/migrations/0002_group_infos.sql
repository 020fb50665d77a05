-- The group info of each group's current epoch: what a device comes back with that has lost the group.
CREATE TABLE group_infos (
    group_no INTEGER PRIMARY KEY REFERENCES groups ON DELETE CASCADE,
    info     BLOB NOT NULL,
    context  INTEGER NOT NULL -- digest of the group context
);
CREATE INDEX members_by_identity ON members (identity) WHERE left_seq IS NULL;
