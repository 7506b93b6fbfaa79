-- `contentdeletion.deleted_at` is the latest moment at which the object may disappear. It is ahead of
-- the clock while a deletion is under way or its outcome is unknown; `unknown_until` is how long the
-- store may still carry out one that it did not answer. `deleter` is null once there is an outcome.
ALTER TABLE contentdeletion ADD COLUMN unknown_until timestamptz;

-- How often the objects of an ended upload could not be deleted.
ALTER TABLE blobupload ADD COLUMN attempts integer NOT NULL DEFAULT 0;
