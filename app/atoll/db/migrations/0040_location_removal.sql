-- The removal of a location that is under way. Until the location's own row goes, and this with it,
-- everything can be put back from here.
CREATE TABLE locationremoval (
    location_id  bigint PRIMARY KEY REFERENCES imagestoragelocation ON DELETE CASCADE,
    state_before text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE removedplacement (
    location_id bigint NOT NULL REFERENCES locationremoval ON DELETE CASCADE,
    storage_id  bigint NOT NULL REFERENCES imagestorage ON DELETE CASCADE,
    state       text NOT NULL,
    verified_at timestamptz NOT NULL,
    PRIMARY KEY (location_id, storage_id)
);
CREATE INDEX removedplacement_storage ON removedplacement (storage_id);
