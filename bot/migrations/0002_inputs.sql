-- The images that members attach are kept as files, named by their SHA-256, so that a job can be
-- made, or made again, after a restart; the same image used twice is one file.
CREATE TABLE inputs (
    job_id INTEGER REFERENCES jobs (id) ON DELETE CASCADE,
    draft_id INTEGER REFERENCES drafts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    CHECK ((job_id IS NULL) <> (draft_id IS NULL))
);

CREATE INDEX inputs_by_job ON inputs (job_id);
CREATE INDEX inputs_by_draft ON inputs (draft_id);
CREATE INDEX inputs_by_file ON inputs (sha256);

-- A draft is what the preview of a mask is about, until its member has it painted or it expires.
-- Its origin and request are JSON: nobody searches in them.
CREATE TABLE drafts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    origin TEXT NOT NULL,
    request TEXT NOT NULL,
    created_at REAL NOT NULL
);

-- The depth map or the edges that the pictures of a job follow, as a file beside them.
ALTER TABLE jobs ADD COLUMN control_path TEXT;

-- How large a file may be where the answer goes, in bytes; Discord's smallest limit if not known.
ALTER TABLE jobs ADD COLUMN filesize_limit INTEGER NOT NULL DEFAULT 10485760;

-- Results say their size, which is no longer always that of the request, and what was reused.
UPDATE jobs
SET outcome = json_set(
    outcome,
    '$.size', json_array(json_extract(request, '$.width'), json_extract(request, '$.height')),
    '$.reused', json('[]')
)
WHERE outcome IS NOT NULL;
