-- A part of the log that somebody wants as a file. What writes it claims the row with a lease, which
-- is held while `lease_expires` is ahead of the database's clock; whoever reads the file is told of
-- it at `callback_url`, which is encrypted, for it may hold a secret of the receiver's.
CREATE TABLE logexport (
    uuid          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    namespace     text NOT NULL,
    repository    text,
    start_time    timestamptz NOT NULL,
    end_time      timestamptz NOT NULL,
    callback_url  text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    available_at  timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    lease_expires timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    -- Where the file is; the row knows of it until it was taken away.
    location      text,
    size          bigint,
    ended_at      timestamptz
);
CREATE INDEX logexport_next ON logexport (available_at) WHERE ended_at IS NULL;
CREATE INDEX logexport_ended ON logexport (ended_at) WHERE ended_at IS NOT NULL;
