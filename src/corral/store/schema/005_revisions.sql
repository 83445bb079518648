-- Every deployment that is kept.
CREATE TABLE revisions (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    package TEXT NOT NULL,
    -- NULL: it has no dependencies.
    layer TEXT,
    -- JSON of the FunctionSpec; fields it does not name have their default.
    spec TEXT NOT NULL,
    style TEXT,
    is_async INTEGER NOT NULL,
    created_at REAL NOT NULL,
    -- Its place in the order in which revisions got all calls of the function; NULL: it is none to go back to.
    proven INTEGER,
    PRIMARY KEY (namespace, name, number)
) WITHOUT ROWID;

INSERT INTO revisions (namespace, name, number, package, layer, spec, style, is_async, created_at, proven)
SELECT namespace, name, number, package, NULL, spec, style, is_async, created_at, 0 FROM functions;

ALTER TABLE functions RENAME TO functions_before;

CREATE TABLE functions (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    -- One numeric user for all its revisions, so two functions never share one.
    uid INTEGER NOT NULL UNIQUE,
    -- JSON list of the Shares.
    traffic TEXT NOT NULL,
    updated_at REAL NOT NULL,
    -- JSON of the Tuning: what was set of its scaling while it served.
    tuning TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

INSERT INTO functions (namespace, name, uid, traffic, updated_at, tuning)
SELECT namespace, name, uid, '[{"number":' || number || ',"percent":100}]', updated_at, tuning FROM functions_before;

DROP TABLE functions_before;
