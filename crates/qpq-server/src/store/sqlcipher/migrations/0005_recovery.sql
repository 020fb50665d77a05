-- Who has the recovery phrase is known by a public key; the record is sealed under the phrase.
CREATE TABLE recoveries (
    account INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    key     BLOB NOT NULL,
    record  BLOB NOT NULL
);

-- Names of accounts that their owners deleted, as hashes: nobody else becomes them.
CREATE TABLE retired_names (
    name_hash BLOB PRIMARY KEY
) WITHOUT ROWID;
