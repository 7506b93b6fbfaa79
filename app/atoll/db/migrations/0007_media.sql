-- When tags that media brought were changed in the exporting registry, in milliseconds since the
-- epoch by its clock. A tag of an older medium does not replace that of a newer one.
CREATE TABLE importedtag (
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    name          text NOT NULL,
    -- The host name of the exporting registry.
    registry      text NOT NULL,
    changed_ms    bigint NOT NULL,
    PRIMARY KEY (repository_id, name)
);

-- Tags whose images have content on media that were not imported yet.
CREATE TABLE awaitedtag (
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    name          text NOT NULL,
    registry      text NOT NULL,
    changed_ms    bigint NOT NULL,
    digest        text NOT NULL,
    -- The manifests that the repository must have before the tag is switched.
    required      text[] NOT NULL,
    -- The digests of the missing manifests and blobs, and the names of media that have them.
    missing       text[] NOT NULL,
    media         text[] NOT NULL,
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (repository_id, name)
);
CREATE INDEX awaitedtag_expires ON awaitedtag (expires_at);

-- The manifests of these images that were imported. Without a tag they would be collected.
CREATE TABLE awaitedmanifest (
    repository_id  bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    digest         text NOT NULL,
    media_type     text NOT NULL,
    manifest_bytes bytea NOT NULL,
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX awaitedmanifest_expires ON awaitedmanifest (expires_at);
