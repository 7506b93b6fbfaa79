-- Mirrors of repositories of other registries. The names are Quay's where it has one.
CREATE TABLE repomirrorconfig (
    id                       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id            bigint NOT NULL UNIQUE REFERENCES repository ON DELETE CASCADE,
    -- The robot in whose name tags change. A robot of a mirror cannot be deleted.
    -- Checked at the end of a transaction that deletes a namespace with its robots and mirrors.
    internal_robot_id        bigint NOT NULL REFERENCES "user" DEFERRABLE INITIALLY DEFERRED,
    is_enabled               boolean NOT NULL DEFAULT true,
    external_reference       text NOT NULL,
    external_registry_username text,
    -- Encrypted, bound to the repository.
    external_registry_password text,
    -- The URLs of proxies have asterisks instead of passwords.
    external_registry_config jsonb NOT NULL DEFAULT '{}',
    -- The passwords of the proxies, encrypted, bound to the repository.
    proxy_passwords          text,
    -- The patterns of tags, in Quay's form.
    root_rule                jsonb NOT NULL,
    architecture_filter      text[] NOT NULL DEFAULT '{}',
    -- Seconds between runs; 0 for runs on demand only.
    sync_interval            integer NOT NULL CHECK (sync_interval >= 0),
    sync_start_date          timestamptz NOT NULL,
    -- Seconds without progress after which a tag fails.
    skopeo_timeout           integer NOT NULL DEFAULT 300 CHECK (skopeo_timeout > 0),
    -- What Quay does not have: further filters, deletions, referrers, roll-back.
    options                  jsonb NOT NULL DEFAULT '{}',
    -- Counts the changes of settings that plans depend on.
    settings_version         bigint NOT NULL DEFAULT 0,
    created_at               timestamptz NOT NULL DEFAULT now(),

    sync_status              text NOT NULL DEFAULT 'NEVER_RUN' CHECK (sync_status IN
                             ('NEVER_RUN', 'SYNC_NOW', 'SYNCING', 'SUCCESS', 'FAIL', 'CANCEL')),
    -- The code of the failure of the last run, and a text for people.
    reason                   text,
    status_message           text,
    retries_remaining        integer NOT NULL DEFAULT 3,
    -- When the next run is due; NULL if only a request starts it.
    next_at                  timestamptz,
    requested_at             timestamptz,
    cancel_requested_at      timestamptz,
    last_success_at          timestamptz,
    -- Refusals of the credentials in a row.
    refusals                 integer NOT NULL DEFAULT 0,
    -- Whether the next run may exceed the limit of deletions. Its end resets it.
    deletions_confirmed      boolean NOT NULL DEFAULT false,
    -- The current run; NULL between runs.
    run_id                   bigint UNIQUE,
    -- Whether all tasks of the current run have been written.
    is_planned               boolean NOT NULL DEFAULT false,
    -- The lease of the process that plans the run.
    lease_token              uuid,
    lease_expires            timestamptz,
    attempts                 integer NOT NULL DEFAULT 0,
    -- Claims of the current run whose lease expired, because their process died or lost the database.
    lost_claims              integer NOT NULL DEFAULT 0,
    available_at             timestamptz NOT NULL DEFAULT now(),
    last_error               text
);
CREATE INDEX repomirrorconfig_next ON repomirrorconfig (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX repomirrorconfig_active ON repomirrorconfig (id)
    WHERE requested_at IS NOT NULL OR run_id IS NOT NULL;
CREATE INDEX repomirrorconfig_robot ON repomirrorconfig (internal_robot_id);

CREATE TABLE mirrorrun (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mirror_id       bigint NOT NULL REFERENCES repomirrorconfig ON DELETE CASCADE,
    cause           text NOT NULL CHECK (cause IN ('schedule', 'request', 'retry')),
    -- Where the run was planned last.
    site            text NOT NULL,
    instance        text NOT NULL,
    started_at      timestamptz NOT NULL DEFAULT now(),
    -- When all tasks of the run had been written.
    planned_at      timestamptz,
    -- The version of the settings that the plan is based on.
    settings_version bigint NOT NULL DEFAULT 0,
    -- The rows of tags that the plan saw and did not select. Only these may end with the run.
    unselected      bigint[] NOT NULL DEFAULT '{}',
    finished_at     timestamptz,
    outcome         text CHECK (outcome IN ('SUCCESS', 'FAIL', 'CANCEL')),
    reason          text,
    -- Also what a successful run has to report.
    message         text,
    tags_total      integer NOT NULL DEFAULT 0,
    tags_unchanged  integer NOT NULL DEFAULT 0,
    tags_copied     integer NOT NULL DEFAULT 0,
    tags_failed     integer NOT NULL DEFAULT 0,
    tags_deleted    integer NOT NULL DEFAULT 0,
    bytes_copied    bigint NOT NULL DEFAULT 0,
    -- Bytes of blobs that did not have to be fetched.
    bytes_present   bigint NOT NULL DEFAULT 0,
    requests        bigint NOT NULL DEFAULT 0
);
CREATE INDEX mirrorrun_mirror ON mirrorrun (mirror_id, id DESC);
ALTER TABLE repomirrorconfig ADD FOREIGN KEY (run_id) REFERENCES mirrorrun ON DELETE SET NULL;

-- A tag is to be copied. The row is deleted when the tag was switched, or failed for good.
CREATE TABLE mirrortask (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id        bigint NOT NULL REFERENCES mirrorrun ON DELETE CASCADE,
    tag           text NOT NULL,
    -- The digest that the tag had at the upstream when the run was planned; NULL if the upstream did
    -- not return it, so that the tag failed.
    digest        text CHECK (digest IS NOT NULL OR state = 'failed'),
    -- `copied`: the content is here, and the tag waits for the others (roll-back).
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'copied', 'failed')),
    bytes_copied  bigint NOT NULL DEFAULT 0,
    -- The tags that change with a copied one because they belong to its image, with their digests.
    attached      jsonb NOT NULL DEFAULT '{}',
    reason        text,
    available_at  timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    lease_expires timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    -- Attempts that failed; others ended with their process.
    failures      integer NOT NULL DEFAULT 0,
    last_error    text,
    UNIQUE (run_id, tag)
);
CREATE INDEX mirrortask_pending ON mirrortask (run_id, available_at, id) WHERE state = 'pending';

-- What is known of the selected tags of a mirror.
CREATE TABLE mirrortag (
    mirror_id       bigint NOT NULL REFERENCES repomirrorconfig ON DELETE CASCADE,
    tag             text NOT NULL,
    upstream_digest text,
    -- When the image was created, as its configuration says.
    image_created   timestamptz,
    seen_at         timestamptz NOT NULL DEFAULT now(),
    checked_at      timestamptz,
    -- Since when listings do not have the tag.
    gone_since      timestamptz,
    last_error      text,
    PRIMARY KEY (mirror_id, tag)
);

-- A large blob that a worker is copying to a mirror. The row is deleted when the blob was placed;
-- after a crash or a pause the next worker continues from it.
CREATE TABLE mirrorblob (
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    digest        text NOT NULL,
    lease_token   uuid NOT NULL,
    lease_expires timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT now(),
    -- The multipart upload of the received bytes; NULL if they are only hashed, because a store has
    -- the blob already.
    location      text,
    upload_id     text,
    -- The number of bytes that were received and written, the state of their hash, and the MD5 of
    -- each part.
    received      bigint NOT NULL DEFAULT 0,
    hash_state    bytea,
    part_md5s     text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX mirrorblob_changed ON mirrorblob (changed_at);

-- Report work of mirrors to the client that wrote it; that client notifies the mirror processes after
-- its commit, as it does for `replicationtask`.
CREATE FUNCTION mirror_work_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO USING MESSAGE = 'atoll_mirror ["' || TG_ARGV[0] || '"]';
    RETURN NULL;
END
$$;

CREATE FUNCTION mirrortask_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM written WHERE state = 'pending') THEN
        RAISE INFO USING MESSAGE = 'atoll_mirror ["copy"]';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER mirrortask_written AFTER INSERT ON mirrortask
REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION mirrortask_written();

CREATE TRIGGER repomirrorconfig_created AFTER INSERT ON repomirrorconfig
FOR EACH ROW WHEN (NEW.is_enabled AND NEW.next_at <= clock_timestamp())
EXECUTE FUNCTION mirror_work_written('plan');

CREATE TRIGGER repomirrorconfig_due
AFTER UPDATE OF requested_at, next_at, is_enabled ON repomirrorconfig
FOR EACH ROW WHEN (NEW.run_id IS NULL AND (NEW.requested_at IS NOT NULL
    OR (NEW.is_enabled AND NEW.next_at <= clock_timestamp())))
EXECUTE FUNCTION mirror_work_written('plan');
