-- A spool: what is still to be handed over to somebody outside, in order. Local to a host; several processes write it.

CREATE TABLE records(
    id     INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order; never given twice
    topic  TEXT NOT NULL,      -- who is to get it
    key    TEXT NOT NULL,      -- records of one key are handed over in order
    at_us  INTEGER NOT NULL,   -- when it happened, microseconds since 1970
    body   BLOB NOT NULL       -- what is handed over
) STRICT;
CREATE INDEX records_topic ON records(topic, id);

-- Sums over `records`, kept by the same transactions: so the bound of a topic costs no counting.
CREATE TABLE topics(
    topic   TEXT PRIMARY KEY,
    number  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL   -- of the bodies
) STRICT, WITHOUT ROWID;
