-- A container: one bucket's metadata. Times are microseconds since 1970. All tables replicate.

CREATE TABLE settings(
    one      INTEGER PRIMARY KEY CHECK (one = 1),  -- a single row, from the bucket's first creation on
    removed  INTEGER NOT NULL,   -- 1 = the bucket was deleted; what follows in `deletions` is still to be done
    value    BLOB NOT NULL       -- protocol.BucketSettings, msgpack
) STRICT;

-- Versions of objects, in the order of listings: keys in UTF-8 byte order, newest version first.
-- What listings show comes first, so that a page is read without touching the blobs' overflow pages.
CREATE TABLE objects(
    key                 TEXT NOT NULL,     -- 1 to 1,024 bytes of UTF-8
    age                 INTEGER NOT NULL,  -- minus the version (microseconds of its commit, unique and growing per key)
    is_null             INTEGER NOT NULL,  -- 1 = S3's "null" version; at most one per key
    marker              INTEGER NOT NULL,  -- 1 = delete marker: size 0, no ETag, no content
    size                INTEGER NOT NULL,  -- bytes of the object
    etag                TEXT NOT NULL,     -- without quotes; "" for a marker
    mtime_us            INTEGER NOT NULL,  -- last modified
    storage_class       TEXT NOT NULL,     -- S3's name; "STANDARD" for a marker
    owner               TEXT NOT NULL,     -- canonical id
    checksum_algorithm  TEXT NOT NULL,     -- names in attributes.checksums, comma between; "" = none
    checksum_type       TEXT NOT NULL,     -- FULL_OBJECT, COMPOSITE, ""
    policy              TEXT NOT NULL,     -- storage policy of the content
    protected           INTEGER NOT NULL,  -- 1 = attributes hold a retention or a legal hold: look before deleting
    moved               INTEGER NOT NULL,  -- 1 = was renamed: `moved` knows its contents
    seq                 INTEGER NOT NULL,  -- number of the row's latest change in the change log
    content             TEXT NOT NULL,     -- id of the content; "" for a marker
    attributes          BLOB NOT NULL,     -- protocol.Attributes, msgpack
    layout              BLOB NOT NULL,     -- where the content lies (store's format); empty = nowhere
    parts               TEXT NOT NULL,     -- ids of the parts' contents, comma between, when it was uploaded in parts; else ""
    PRIMARY KEY (key, age)
) STRICT, WITHOUT ROWID;

-- Contents of renamed rows, so that `knows` finds them although their chunks' records may still name the old key.
CREATE TABLE moved(
    content  TEXT PRIMARY KEY,  -- objects.content or one of objects.parts
    key      TEXT NOT NULL,     -- where it is now
    age      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Multipart uploads in progress.
CREATE TABLE uploads(
    key         TEXT NOT NULL,
    upload      TEXT NOT NULL,     -- id, 32 hex digits
    started_us  INTEGER NOT NULL,
    value       BLOB NOT NULL,     -- protocol.UploadRow, msgpack
    PRIMARY KEY (key, upload)
) STRICT, WITHOUT ROWID;

CREATE TABLE parts(
    upload     TEXT NOT NULL,      -- an id in `uploads`
    part       INTEGER NOT NULL,   -- 1 to 10,000
    size       INTEGER NOT NULL,   -- bytes
    etag       TEXT NOT NULL,
    mtime_us   INTEGER NOT NULL,
    checksums  BLOB NOT NULL,      -- dict of algorithm to base64, msgpack
    content    TEXT NOT NULL,      -- id of the part's content, unique
    layout     BLOB NOT NULL,
    PRIMARY KEY (upload, part)
) STRICT, WITHOUT ROWID;

-- Results of completions and of renames with a token, so that a client that lost the answer may ask again.
CREATE TABLE completed(
    upload   TEXT PRIMARY KEY,     -- the upload's id; "rename " and the token
    key      TEXT NOT NULL,        -- of the object that was made
    at_us    INTEGER NOT NULL,     -- kept for a day
    result   BLOB NOT NULL         -- protocol.PutResult, msgpack; of a rename beside a digest of its parameters
) STRICT, WITHOUT ROWID;
CREATE INDEX completed_at ON completed(at_us);

-- Contents that no row names any more and whose chunks are still there. Nothing leaks: a row leaves only when its chunks are deleted.
CREATE TABLE deletions(
    id       INTEGER PRIMARY KEY,  -- from `state`, so lower is older
    content  TEXT NOT NULL,        -- "" when only a layout is known
    parts    TEXT NOT NULL,        -- as objects.parts
    layout   BLOB NOT NULL
) STRICT;

-- Versions whose chunks' records are out of date; key "" and age 0: the bucket's settings, which a chunk repeats.
CREATE TABLE stale_records(
    id   INTEGER PRIMARY KEY,      -- from `state`, so lower is older
    key  TEXT NOT NULL,
    age  INTEGER NOT NULL
) STRICT;

-- Versions of the cold classes whose bytes are to leave the volumes or to come back, or whose restored copy will go; derived from their rows.
CREATE TABLE cold(
    key     TEXT NOT NULL,
    age     INTEGER NOT NULL,
    due_us  INTEGER NOT NULL,  -- 0 = to be frozen; of a restore under way when it was asked for: both at once, and again until it is done
    PRIMARY KEY (key, age)
) STRICT, WITHOUT ROWID;
CREATE INDEX cold_due ON cold(due_us, key, age);

-- Where the container stands; written once per transaction.
CREATE TABLE state(
    one      INTEGER PRIMARY KEY CHECK (one = 1),  -- a single row
    seq      INTEGER NOT NULL,  -- highest number given: the change log's, deletions.id and stale_records.id share it, none is ever given twice
    version  INTEGER NOT NULL,  -- highest version given, so that versions grow although a clock jumps back
    sums     TEXT NOT NULL      -- over the tables above, exact: JSON {place: [number, bytes]}; places: meta/transaction.py
) STRICT;
INSERT INTO state VALUES (1, 0, 0, '{}');
