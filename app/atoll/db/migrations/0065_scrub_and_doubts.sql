-- How far the scrub of a location has come among its placements of each state, ordered by
-- `verified_at` and id. The position outlives restarts and is shared by all workers of a site, so a
-- placement that cannot be verified never hides those behind it. Kept apart from the placements: a
-- column there would need an index over all of them.
CREATE TABLE scrubpass (
    location_id  bigint NOT NULL REFERENCES imagestoragelocation ON DELETE CASCADE,
    state        text NOT NULL CHECK (state IN ('good', 'suspect')),
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    verified_at  timestamptz NOT NULL DEFAULT '-infinity',
    placement_id bigint NOT NULL DEFAULT 0,
    looked_at    timestamptz,
    PRIMARY KEY (location_id, state)
);

-- Old runs are deleted in batches.
CREATE INDEX verification_changed ON verification (changed_at);

-- A worker of another site (`doubted_by`, by its location) read wrong bytes at a location. The copy
-- stays good until the location's own site has read it as a whole, at `looked_at` for the last time
-- if it could not be read.
CREATE TABLE placementdoubt (
    storage_id  bigint NOT NULL,
    location_id bigint NOT NULL,
    doubted_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    doubted_by  text NOT NULL,
    reason      text NOT NULL,
    looked_at   timestamptz,
    PRIMARY KEY (storage_id, location_id),
    FOREIGN KEY (storage_id, location_id)
        REFERENCES imagestorageplacement (storage_id, location_id) ON DELETE CASCADE
);
CREATE INDEX placementdoubt_location ON placementdoubt (location_id, doubted_at);
