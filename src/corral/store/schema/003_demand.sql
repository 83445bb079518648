-- How often a function was called in each minute of an hour, and how long it had been idle before. The hour leads,
-- so that what is written each minute, for all functions called in it, lies side by side.
CREATE TABLE demand (
    -- Since 1970, UTC.
    hour INTEGER NOT NULL,
    -- namespace/name
    function TEXT NOT NULL,
    -- One entry after the other, each appended when its minute was over; their form is store/minutes.py.
    entries BLOB NOT NULL,
    PRIMARY KEY (hour, function)
) WITHOUT ROWID;

-- The last minute (since 1970, UTC) in which a function had a call. It outlives the hours above.
CREATE TABLE last_calls (
    function TEXT PRIMARY KEY,
    minute INTEGER NOT NULL
) WITHOUT ROWID;
