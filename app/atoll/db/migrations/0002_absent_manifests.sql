-- Content that a manifest refers to and its repository does not have. When it is pushed, the row
-- becomes one of `manifestchild` or `manifestblob`; when a child's row is deleted, a row is written.
-- Size and media type are those of the descriptor, if it has valid ones.
--
-- `repository_id` is that of the manifest. It has no foreign key: the collector inserts rows while
-- it holds rows of manifests, and would wait for a repository that is being deleted, and that
-- deletion for the manifests.
CREATE TABLE manifestabsent (
    manifest_id   bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    digest        text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('manifest', 'blob')),
    repository_id bigint NOT NULL,
    size          bigint,
    media_type    text,
    PRIMARY KEY (manifest_id, digest)
);
CREATE INDEX manifestabsent_digest ON manifestabsent (repository_id, digest);
