-- Accounts, their users and access keys, the policies that narrow them, and accounts' buckets. Times are microseconds since 1970. All tables replicate.

CREATE TABLE accounts(
    account       TEXT PRIMARY KEY,
    created_us    INTEGER NOT NULL,
    user_id       TEXT NOT NULL DEFAULT '',      -- canonical id, shown as owner; "" until its first key
    display_name  TEXT NOT NULL DEFAULT '',
    email         TEXT NOT NULL DEFAULT '',
    suspended     INTEGER NOT NULL DEFAULT 0     -- 1 = all its keys are refused until it is resumed
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_user_id ON accounts(user_id);
CREATE INDEX accounts_email ON accounts(lower(email));

CREATE TABLE users(
    account     TEXT NOT NULL,      -- in `accounts`
    user        TEXT NOT NULL,      -- keys.name of its keys
    created_us  INTEGER NOT NULL,
    suspended   INTEGER NOT NULL,   -- 1 = all its keys are refused until it is resumed
    policies    TEXT NOT NULL,      -- names in `policies`, JSON array; "" = none: it may do what its account may
    PRIMARY KEY (account, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys(
    access_key    TEXT PRIMARY KEY,   -- 3 to 128 characters of [A-Za-z0-9_.-]
    account       TEXT NOT NULL,      -- in `accounts`
    name          TEXT NOT NULL,      -- of its user, in `users`
    user_id       TEXT NOT NULL,      -- canonical id, shown as owner
    display_name  TEXT NOT NULL,
    email         TEXT NOT NULL,
    created_us    INTEGER NOT NULL,
    suspended     INTEGER NOT NULL,   -- 1 = refused until it is resumed
    admin         INTEGER NOT NULL,   -- 1 = may do everything
    policy        TEXT NOT NULL,      -- names in `policies`, JSON array; "" = none
    sealed        BLOB NOT NULL       -- the secret, sealed with the namespace's key and bound to the access key: never in the clear
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_user_id ON keys(user_id);
CREATE INDEX keys_email ON keys(lower(email));

CREATE TABLE policies(
    name        TEXT PRIMARY KEY,
    text        TEXT NOT NULL,      -- JSON, in the language of bucket policies without principals; s3/policy.py reads it
    created_us  INTEGER NOT NULL,
    changed_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE buckets(
    account     TEXT NOT NULL,
    bucket      TEXT NOT NULL,
    created_us  INTEGER NOT NULL,
    region      TEXT NOT NULL,
    PRIMARY KEY (account, bucket)
) STRICT, WITHOUT ROWID;
