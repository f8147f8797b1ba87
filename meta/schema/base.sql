-- The table that every base has: its latest transactions. Each peer keeps its own.

CREATE TABLE entries(
    entry   INTEGER PRIMARY KEY,  -- its index, one more than that of the entry before; the newest row says where the base stands, and always stays
    epoch   INTEGER NOT NULL,     -- the leader's epoch when it was committed
    script  BLOB                  -- meta/script.py; NULL = it was too large to keep: a peer that misses it gets a snapshot
) STRICT;
