-- Cache keys that Redis could not be told to delete. They are kept here rather than in the process,
-- which may end before Redis is back, and are passed on by any process that reaches Redis.
CREATE TABLE lostcachedeletion (
    key        text PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX lostcachedeletion_deleted ON lostcachedeletion (deleted_at);
