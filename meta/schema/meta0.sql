-- The root of the directory: which meta1 base knows the containers whose id begins with a prefix. All tables replicate.

CREATE TABLE prefixes(
    prefix  TEXT PRIMARY KEY,   -- lower-case hex digits, as many in every row: each container id has exactly one; "" = one base for all
    base    TEXT NOT NULL,      -- name of the meta1 base
    peers   TEXT NOT NULL       -- its peers, comma between; "local" = this process
) STRICT, WITHOUT ROWID;
