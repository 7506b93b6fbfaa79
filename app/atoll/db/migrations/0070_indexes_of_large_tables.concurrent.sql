-- Copies in quarantine are verified first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS imagestorageplacement_suspect
    ON imagestorageplacement (location_id, verified_at, id) WHERE state = 'suspect';

-- Rights of uploads are removed in the order in which they ended.
CREATE INDEX CONCURRENTLY IF NOT EXISTS uploadedblob_expires ON uploadedblob (expires_at);

-- Unfinished multipart uploads, whose parts are kept, are looked up once an hour.
CREATE INDEX CONCURRENTLY IF NOT EXISTS replicationtask_upload
    ON replicationtask (upload_id) WHERE upload_id IS NOT NULL;
