-- Every job is a row before its member sees that it waits, so that none is lost with the process.
-- The interaction's token is kept with it: for fifteen minutes it is the way to the message.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL CHECK (
        state IN ('queued', 'running', 'made', 'delivered', 'failed', 'cancelled', 'interrupted')
    ),
    user_id INTEGER NOT NULL,
    guild_id INTEGER,
    channel_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    application_id INTEGER NOT NULL,
    token TEXT NOT NULL,
    private INTEGER NOT NULL,
    spoiler INTEGER NOT NULL,
    request TEXT NOT NULL,
    outcome TEXT,
    error TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL
);

CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_member ON jobs (user_id, created_at);

-- The pictures lie as files beside the database; `path` is relative to the data folder.
CREATE TABLE images (
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    path TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (job_id, position)
);
