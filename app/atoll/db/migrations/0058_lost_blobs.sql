-- What was lost with a location whose store will never come back, so that it can be told afterwards.
-- A blob that was pushed again has a good placement, whatever stands here.
CREATE TABLE lostblob (
    storage_id bigint PRIMARY KEY REFERENCES imagestorage ON DELETE CASCADE,
    location   text NOT NULL,
    lost_at    timestamptz NOT NULL DEFAULT now()
);
