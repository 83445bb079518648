CREATE TABLE functions (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    package TEXT NOT NULL,
    -- One numeric user for each revision, so two functions never share one.
    uid INTEGER NOT NULL UNIQUE,
    -- JSON of the FunctionSpec; fields it does not name have their default.
    spec TEXT NOT NULL,
    style TEXT,
    is_async INTEGER NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

-- The last revision number given. A row outlives its function, so that no number is ever given twice.
CREATE TABLE numbers (
    key TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tokens (
    digest TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    namespaces TEXT NOT NULL,
    manage INTEGER NOT NULL,
    invoke INTEGER NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;
