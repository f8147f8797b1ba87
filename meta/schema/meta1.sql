-- One part of the directory: which peers hold a container. Assignments are stored, so that a new host moves nothing. All tables replicate.

CREATE TABLE containers(
    id       TEXT PRIMARY KEY,     -- container id, 64 hex digits
    bucket   TEXT NOT NULL,        -- the name it is the hash of
    peers    TEXT NOT NULL,        -- comma between; "local" = this process
    removed  INTEGER NOT NULL      -- 1 = the bucket is gone, its base still has deletions to do
) STRICT, WITHOUT ROWID;

-- Containers that were opened for writing and not closed in good order since, or closed with work to do.
CREATE TABLE opened(
    id       TEXT PRIMARY KEY,
    bucket   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
