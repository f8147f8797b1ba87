-- What a worker knows of the chunks on its cold disks, and what it still has to do. Times are microseconds since 1970.

CREATE TABLE bus(
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    value  TEXT NOT NULL  -- JSON: glacier.protocol.BusReport as its freezer told last
) STRICT;

CREATE TABLE disks(
    disk    INTEGER PRIMARY KEY,  -- number on the board
    total   INTEGER NOT NULL,     -- bytes of its file system as last measured; 0 = never
    stored  INTEGER NOT NULL,     -- bytes that were ever sent to it: against what is still there this tells what deletions emptied
    closed  TEXT NOT NULL         -- why it takes nothing new ("full", "emptying", "lost"); "" = it does
) STRICT;

CREATE TABLE chunks(
    volume       TEXT NOT NULL,     -- "" of a stray that was found on a disk: nobody knows
    chunk        TEXT NOT NULL,
    state        TEXT NOT NULL,     -- wanted: to be sent; sent: on both, synced and compared; cold: the file is emptied; filled: on both, until until_us;
                                    -- stray: only on the disk, and the file is gone: kept until the metadata says that nobody needs it;
                                    -- lost: the file is empty, and no disk has it whole
    disk         INTEGER NOT NULL,  -- where it is, or was elected to go; -1 = nowhere (lost)
    also         INTEGER NOT NULL,  -- a disk that has it too and is to lose it once it is sent; -1 = none
    size         INTEGER NOT NULL,  -- bytes
    bucket       TEXT NOT NULL,     -- bucket, key and content as its record said: whom to ask whether a stray is still needed
    key          TEXT NOT NULL,
    content      TEXT NOT NULL,
    metachunk    INTEGER NOT NULL,  -- chunks of one metachunk are kept on different disks
    until_us     INTEGER NOT NULL,  -- not emptied before
    verified_us  INTEGER NOT NULL,  -- when its bytes were last read on the disk and compared
    PRIMARY KEY (volume, chunk)
) STRICT, WITHOUT ROWID;
CREATE INDEX chunks_named ON chunks(chunk);
CREATE INDEX chunks_on ON chunks(disk, verified_us);
CREATE INDEX chunks_kin ON chunks(content, metachunk);
CREATE INDEX chunks_until ON chunks(until_us) WHERE state IN ('sent', 'filled');
CREATE INDEX chunks_stray ON chunks(volume, chunk) WHERE state IN ('stray', 'lost');

CREATE TABLE jobs(
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    task      TEXT NOT NULL,     -- thaw, freeze, delete
    kind      INTEGER NOT NULL,  -- glacier.backlog.Kind
    disk      INTEGER NOT NULL,
    volume    TEXT NOT NULL,
    chunk     TEXT NOT NULL,
    size      INTEGER NOT NULL,
    at_us     INTEGER NOT NULL,  -- when it was first asked for
    purpose   TEXT NOT NULL,     -- of a thaw: read (for a while), melt (for good), move (to another disk); else ""
    tries     INTEGER NOT NULL,
    problem   TEXT NOT NULL      -- of the last try
) STRICT;
CREATE UNIQUE INDEX jobs_of ON jobs(volume, chunk, task, disk);
