-- How often a job was begun: what takes the process down with it is not begun for ever.
ALTER TABLE jobs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;

-- Noted before the bot posts a message of its own for a job, so that Discord takes it only once.
ALTER TABLE jobs ADD COLUMN nonce TEXT;
