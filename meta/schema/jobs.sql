-- Long work and how far it is. Times are microseconds since 1970. All tables replicate.

CREATE TABLE jobs(
    id          INTEGER PRIMARY KEY,  -- grows with each
    kind        TEXT NOT NULL,        -- what is done: store/jobs.py
    state       TEXT NOT NULL,        -- running, paused; done, failed, aborted
    created_us  INTEGER NOT NULL,
    changed_us  INTEGER NOT NULL,
    value       TEXT NOT NULL         -- JSON: arguments, pace in bytes per second (0 = none), position, progress, message
) STRICT;
