-- What a server, or a channel of it, has set otherwise than the defaults in the code; the channel
-- is 0 for the whole server. Values are JSON.
CREATE TABLE settings (
    guild_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL DEFAULT 0,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (guild_id, channel_id, key)
) WITHOUT ROWID;

-- Who changed what; NULL stands for the default.
CREATE TABLE settings_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    guild_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    old TEXT,
    new TEXT,
    changed_at REAL NOT NULL
);

CREATE INDEX settings_log_by_guild ON settings_log (guild_id, id);

-- Seconds of the GPU that were used, beside the jobs: they still count when a job is deleted, and
-- without a member when that member is forgotten, for whose limit they count a day longer.
CREATE TABLE usage (
    user_id INTEGER,
    guild_id INTEGER,
    ended_at REAL NOT NULL,
    seconds REAL NOT NULL,
    forgotten INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX usage_by_member ON usage (user_id, ended_at);
CREATE INDEX usage_by_guild ON usage (guild_id, ended_at);

INSERT INTO usage (user_id, guild_id, ended_at, seconds)
SELECT user_id, guild_id, finished_at, max(0, finished_at - started_at)
FROM jobs
WHERE started_at IS NOT NULL AND finished_at IS NOT NULL;

-- How the pictures of a job are to be shown, as JSON; NULL for how it was always done.
ALTER TABLE jobs ADD COLUMN look TEXT;

-- The job that this one was to make again, to see whether the pixels agree.
ALTER TABLE jobs ADD COLUMN repeats INTEGER;

-- By its hash a picture is known again when a member attaches it.
ALTER TABLE images ADD COLUMN sha256 TEXT;

CREATE INDEX images_by_hash ON images (sha256);
CREATE INDEX jobs_by_guild ON jobs (guild_id, id);
CREATE INDEX jobs_by_message ON jobs (message_id);

-- The jobs whose pictures this one was made from.
CREATE TABLE parents (
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    parent_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (job_id, parent_id)
) WITHOUT ROWID;

CREATE INDEX parents_by_parent ON parents (parent_id);

-- Messages with a job's pictures beside its own: posted anew, or in the archive of a server.
CREATE TABLE posts (
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    channel_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (job_id, message_id)
) WITHOUT ROWID;

-- Messages of deleted jobs, which Discord is still to delete.
CREATE TABLE removals (
    message_id INTEGER PRIMARY KEY,
    channel_id INTEGER NOT NULL
);

-- Servers that the bot is not in any more, and members who have left one (user_id; 0 for the bot
-- itself), since when: after a time their data is deleted.
CREATE TABLE departures (
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL DEFAULT 0,
    left_at REAL NOT NULL,
    PRIMARY KEY (guild_id, user_id)
) WITHOUT ROWID;
