-- What an instance of a revision was seen to use, in MiB. Rows of revisions that are gone are removed at the next start.
CREATE TABLE working_sets (
    revision TEXT PRIMARY KEY,
    memory_mib INTEGER NOT NULL
) WITHOUT ROWID;
