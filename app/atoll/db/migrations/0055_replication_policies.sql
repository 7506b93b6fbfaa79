-- Where the blobs of a namespace or of a repository must be, and may not be. Locations are named,
-- not referred to: what is excluded stays so when a location is removed and comes back.
CREATE TABLE replicationpolicy (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_user_id bigint UNIQUE REFERENCES "user" ON DELETE CASCADE,
    repository_id     bigint UNIQUE REFERENCES repository ON DELETE CASCADE,
    extra             text[] NOT NULL DEFAULT '{}',
    excluded          text[] NOT NULL DEFAULT '{}',
    -- Its tasks go first.
    urgent            boolean NOT NULL DEFAULT false,
    -- A manifest is taken when its blobs are at so many locations, or refused after so many seconds.
    sync_copies       integer CHECK (sync_copies > 1),
    sync_seconds      integer CHECK (sync_seconds > 0),
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((namespace_user_id IS NULL) <> (repository_id IS NULL)),
    CHECK (NOT extra && excluded),
    CHECK ((sync_copies IS NULL) = (sync_seconds IS NULL))
);

ALTER TABLE replicationtask ADD COLUMN urgent boolean NOT NULL DEFAULT false;
-- The blob's size, so that lag is known from this table alone. A version before this one leaves it
-- out.
ALTER TABLE replicationtask ADD COLUMN image_size bigint;
CREATE INDEX replicationtask_urgent
    ON replicationtask (location_id, large, urgent DESC, available_at, id);
CREATE INDEX replicationtask_failed ON replicationtask (location_id, id)
    WHERE last_error IS NOT NULL;
