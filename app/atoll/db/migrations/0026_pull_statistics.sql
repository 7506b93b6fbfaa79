-- How often, and when last, each tag and each manifest was pulled. Kept apart from the log, which is
-- rotated. A manifest that is pulled by a tag counts for both.
CREATE TABLE tagpullstatistics (
    repository_id           bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    tag_name                text NOT NULL,
    tag_pull_count          bigint NOT NULL,
    last_tag_pull_date      timestamptz NOT NULL,
    current_manifest_digest text NOT NULL,
    PRIMARY KEY (repository_id, tag_name)
);

CREATE TABLE manifestpullstatistics (
    repository_id           bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    manifest_digest         text NOT NULL,
    manifest_pull_count     bigint NOT NULL,
    last_manifest_pull_date timestamptz NOT NULL,
    PRIMARY KEY (repository_id, manifest_digest)
);
