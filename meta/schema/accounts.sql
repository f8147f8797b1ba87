-- Accounts, their access keys and their buckets. Times are microseconds since 1970. All tables replicate.

CREATE TABLE accounts(
    account     TEXT PRIMARY KEY,
    created_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys(
    access_key    TEXT PRIMARY KEY,   -- 3 to 128 characters of [A-Za-z0-9_.-]
    account       TEXT NOT NULL,      -- in `accounts`
    name          TEXT NOT NULL,      -- given by whoever made it
    user_id       TEXT NOT NULL,      -- canonical id, shown as owner
    display_name  TEXT NOT NULL,
    email         TEXT NOT NULL,
    created_us    INTEGER NOT NULL,
    suspended     INTEGER NOT NULL,   -- 1 = refused until it is resumed
    admin         INTEGER NOT NULL,   -- 1 = may do everything
    policy        TEXT NOT NULL,      -- JSON; "" = none
    sealed        BLOB NOT NULL       -- the secret, sealed with the namespace's key and bound to the access key: never in the clear
) STRICT, WITHOUT ROWID;

CREATE TABLE buckets(
    account     TEXT NOT NULL,
    bucket      TEXT NOT NULL,
    created_us  INTEGER NOT NULL,
    region      TEXT NOT NULL,
    PRIMARY KEY (account, bucket)
) STRICT, WITHOUT ROWID;
