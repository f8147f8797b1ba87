-- The namespace's encryption keys: which there are and how they stand. Their bytes are derived from the namespace's secret and are
-- in no base. All tables replicate.

CREATE TABLE encryption_keys(
    id           TEXT PRIMARY KEY,   -- 1 to 128 characters of [A-Za-z0-9_-]
    description  TEXT NOT NULL,      -- by whoever made it
    created_us   INTEGER NOT NULL,   -- microseconds since 1970; 0 = it was always there
    enabled      INTEGER NOT NULL,   -- 0 = nothing is encrypted or decrypted with it
    version      INTEGER NOT NULL,   -- the newest, which new data keys are wrapped with; from 1, older ones go on unwrapping
    rotated_us   INTEGER NOT NULL    -- when the newest version was made
) STRICT, WITHOUT ROWID;
