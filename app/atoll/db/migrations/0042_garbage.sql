-- When the collector found that nobody needs a blob. A push, a mount or a manifest brings it back;
-- after a grace time its placements go, then its objects, then its row.
ALTER TABLE imagestorage ADD COLUMN tombstone_at timestamptz;
CREATE INDEX imagestorage_tombstone ON imagestorage (tombstone_at) WHERE tombstone_at IS NOT NULL;
CREATE INDEX manifest_deleted ON manifest (deleted_at) WHERE deleted_at IS NOT NULL;

-- The delete queue of each location: an object to take away, unless somebody placed the blob there
-- again. A lease is held while `lease_expires` is ahead of the database's clock.
CREATE TABLE objectdeletion (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    storage_id    bigint NOT NULL REFERENCES imagestorage,
    location_id   bigint NOT NULL REFERENCES imagestoragelocation ON DELETE CASCADE,
    created_at    timestamptz NOT NULL DEFAULT now(),
    available_at  timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    lease_expires timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    UNIQUE (storage_id, location_id)
);
CREATE INDEX objectdeletion_next ON objectdeletion (location_id, available_at, id);

-- For the comparison with a store's inventory, which is sorted byte by byte.
CREATE INDEX imagestorage_checksum_bytes ON imagestorage (content_checksum COLLATE "C");

-- A deletion is announced before the object goes, with `deleted_at` 'infinity'; `deleter` is whose
-- announcement it is.
ALTER TABLE contentdeletion
    ADD COLUMN deleter uuid,
    ADD COLUMN announced_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE INDEX contentdeletion_deleter ON contentdeletion (deleter);
