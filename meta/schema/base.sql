-- The tables that every base has. They do not replicate: each peer keeps its own.

CREATE TABLE header(
    one     INTEGER PRIMARY KEY CHECK (one = 1),  -- a single row
    epoch   INTEGER NOT NULL,  -- highest leader epoch this peer has seen; entries of lower ones are refused; 0 = none yet
    last    INTEGER NOT NULL   -- index of the last entry applied; grows by one with each; 0 = none yet
) STRICT;
INSERT INTO header VALUES (1, 0, 0);

CREATE TABLE changesets(
    entry     INTEGER PRIMARY KEY,  -- index of the entry; a run without gaps that ends at header.last, or empty
    epoch     INTEGER NOT NULL,     -- the leader's epoch when it was committed
    changeset BLOB NOT NULL         -- SQLite changeset of all replicated tables; empty = an entry without changes
) STRICT;
