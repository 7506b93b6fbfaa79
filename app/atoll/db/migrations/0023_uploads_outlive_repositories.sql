-- A repository can be deleted while something is being uploaded to it. The upload's row stays, as
-- nobody's, because it knows of objects that are to be cleared away.
ALTER TABLE blobupload ALTER COLUMN repository_id DROP NOT NULL;
ALTER TABLE blobupload DROP CONSTRAINT blobupload_repository_id_fkey;
ALTER TABLE blobupload ADD CONSTRAINT blobupload_repository_id_fkey
    FOREIGN KEY (repository_id) REFERENCES repository ON DELETE SET NULL;
CREATE INDEX blobupload_repository ON blobupload (repository_id);
