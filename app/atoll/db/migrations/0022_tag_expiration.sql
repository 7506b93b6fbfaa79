-- A tag may end at a moment that is still to come. The row stays as it is until something else
-- ends it; who asks what a tag means compares with the database's clock.
ALTER TABLE tag ADD COLUMN expires_ms bigint;

-- What an image's label `quay.expires-after` says, found when its configuration was uploaded.
ALTER TABLE blobupload ADD COLUMN expires_after_s bigint;
ALTER TABLE imagestorage ADD COLUMN expires_after_s bigint;

CREATE INDEX logentry_created ON logentry (created_at);
