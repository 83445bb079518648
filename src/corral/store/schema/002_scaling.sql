-- JSON of the Tuning: what was set of its scaling while it served.
ALTER TABLE functions ADD COLUMN tuning TEXT NOT NULL DEFAULT '{}';

-- JSON of the scaling of functions that say nothing of their own, by namespace.
CREATE TABLE scaling_defaults (
    namespace TEXT PRIMARY KEY,
    scaling TEXT NOT NULL
) WITHOUT ROWID;
