-- Which account owns a bucket name. All tables replicate.

CREATE TABLE names(
    bucket      TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    created_us  INTEGER NOT NULL,   -- microseconds since 1970
    region      TEXT NOT NULL       -- where its container is; "" = the only one
) STRICT, WITHOUT ROWID;
