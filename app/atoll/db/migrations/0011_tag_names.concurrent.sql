-- For pages of a repository's tags, which are sorted by bytes. Without it each page sorts all tags.
CREATE INDEX CONCURRENTLY IF NOT EXISTS tag_name_bytes
    ON tag (repository_id, name COLLATE "C") WHERE lifetime_end_ms IS NULL;
