-- The schema of 0.1. Tables that operators of Quay query keep Quay's names and columns.
--
-- Leases (replicationtask, objectdeletion, notificationdelivery, logexport): a row is claimed by
-- setting lease_token; the lease is held until lease_expires, on the database's clock.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Accounts ------------------------------------------------------------------------------------

-- Users, organizations and robots share one table because they share one namespace. A robot acts as
-- a user does: it has permissions and is a member of teams. Its name is NAMESPACE+SHORT, and '+' is
-- in no other name. Its secret is encrypted, not hashed, because its owner may read it.
CREATE TABLE "user" (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid             uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    username         text NOT NULL UNIQUE,
    email            text,
    password_hash    text,
    organization     boolean NOT NULL DEFAULT false,
    enabled          boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    robot_owner_id   bigint REFERENCES "user" ON DELETE CASCADE,
    robot_secret     text,
    description      text NOT NULL DEFAULT '',
    -- Seconds for which the time machine keeps deleted tags of this namespace.
    tag_expiration_s bigint CHECK (tag_expiration_s >= 0),
    CHECK (NOT organization OR password_hash IS NULL),
    CHECK ((robot_owner_id IS NULL) = (robot_secret IS NULL))
);
CREATE UNIQUE INDEX user_email ON "user" (lower(email)) WHERE email IS NOT NULL;
CREATE INDEX user_robot_owner ON "user" (robot_owner_id) WHERE robot_owner_id IS NOT NULL;
CREATE INDEX user_name_trigrams ON "user" USING gin (username gin_trgm_ops);

CREATE TABLE team (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    name            text NOT NULL,
    role            text NOT NULL CHECK (role IN ('member', 'creator', 'admin')),
    description     text NOT NULL DEFAULT '',
    UNIQUE (organization_id, name)
);

CREATE TABLE teammember (
    team_id bigint NOT NULL REFERENCES team ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX teammember_user ON teammember (user_id);

-- Announcements by operators to all users.
CREATE TABLE message (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid       uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    content    text NOT NULL,
    severity   text NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    media_type text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Tokens --------------------------------------------------------------------------------------

-- Signs tokens and upload states where the bundle has no secret. All sites share this row, which is
-- created here and never replaced.
CREATE TABLE signingsecret (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    secret     bytea NOT NULL CHECK (octet_length(secret) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Each UUID contains 122 bits of the operating system's strong randomness.
INSERT INTO signingsecret (secret)
SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
           || uuid_send(gen_random_uuid()));

-- An application-specific token, used as the password of the user name `$app`. Its first half is the
-- look-up key, its second half, which is encrypted, the proof.
CREATE TABLE appspecifictoken (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid         uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    user_id      bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    title        text NOT NULL,
    token_name   text NOT NULL UNIQUE,
    token_secret text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz
);
CREATE INDEX appspecifictoken_user ON appspecifictoken (user_id);
-- Expired tokens are deleted in order of expiry.
CREATE INDEX appspecifictoken_expires ON appspecifictoken (expires_at)
    WHERE expires_at IS NOT NULL;

-- An application of an organization that may ask users for tokens of the API.
CREATE TABLE oauthapplication (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id       text NOT NULL UNIQUE,
    client_secret   text NOT NULL,
    organization_id bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    name            text NOT NULL,
    description     text NOT NULL DEFAULT '',
    application_uri text NOT NULL DEFAULT '',
    redirect_uri    text NOT NULL DEFAULT '',
    avatar_email    text,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX oauthapplication_organization ON oauthapplication (organization_id);

-- A token of the API. Only its hash is stored: it is shown once. One that was created in the
-- settings of an application, not by a user's consent, has a name.
CREATE TABLE oauthaccesstoken (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid           uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    user_id        bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    token_hash     text NOT NULL UNIQUE,
    scope          text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    application_id bigint REFERENCES oauthapplication ON DELETE CASCADE,
    name           text
);
CREATE INDEX oauthaccesstoken_user ON oauthaccesstoken (user_id);
CREATE INDEX oauthaccesstoken_application ON oauthaccesstoken (application_id)
    WHERE application_id IS NOT NULL;
CREATE INDEX oauthaccesstoken_expires ON oauthaccesstoken (expires_at);

-- A request by an administrator of an application to a user for a token. The user's consent creates
-- the token and deletes the row.
CREATE TABLE oauthassignedauthorization (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid           uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    user_id        bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    application_id bigint NOT NULL REFERENCES oauthapplication ON DELETE CASCADE,
    redirect_uri   text NOT NULL,
    scope          text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX oauthassignedauthorization_user ON oauthassignedauthorization (user_id);
CREATE INDEX oauthassignedauthorization_application ON oauthassignedauthorization (application_id);

-- Repositories --------------------------------------------------------------------------------

CREATE TABLE repository (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_user_id bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    name              text NOT NULL,
    visibility        text NOT NULL CHECK (visibility IN ('public', 'private')),
    description       text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
    state             text NOT NULL DEFAULT 'NORMAL'
                      CHECK (state IN ('NORMAL', 'READ_ONLY', 'MIRROR')),
    UNIQUE (namespace_user_id, name)
);
CREATE INDEX repository_name_trigrams ON repository USING gin (name gin_trgm_ops);

CREATE TABLE repositorypermission (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    user_id       bigint REFERENCES "user" ON DELETE CASCADE,
    team_id       bigint REFERENCES team ON DELETE CASCADE,
    role          text NOT NULL CHECK (role IN ('read', 'write', 'admin')),
    CHECK ((user_id IS NULL) <> (team_id IS NULL)),
    UNIQUE (repository_id, user_id),
    UNIQUE (repository_id, team_id)
);

-- A default permission: the delegate gets it on each repository that is created in the organization
-- (by the activating user only, if there is one).
CREATE TABLE permissionprototype (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid               uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    organization_id    bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    activating_user_id bigint REFERENCES "user" ON DELETE CASCADE,
    delegate_user_id   bigint REFERENCES "user" ON DELETE CASCADE,
    delegate_team_id   bigint REFERENCES team ON DELETE CASCADE,
    role               text NOT NULL CHECK (role IN ('read', 'write', 'admin')),
    CHECK ((delegate_user_id IS NULL) <> (delegate_team_id IS NULL))
);
CREATE INDEX permissionprototype_organization ON permissionprototype (organization_id);

CREATE TABLE star (
    user_id       bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, repository_id)
);
CREATE INDEX star_repository ON star (repository_id);

-- Locations -----------------------------------------------------------------------------------

CREATE TABLE imagestoragelocation (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'active'
          CHECK (state IN ('active', 'read-only', 'draining', 'removed'))
);

-- Locations that must, and must not, have the blobs of a namespace or repository. Locations are
-- named, not referenced: an exclusion outlives the removal of a location and its return.
CREATE TABLE replicationpolicy (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_user_id bigint UNIQUE REFERENCES "user" ON DELETE CASCADE,
    repository_id     bigint UNIQUE REFERENCES repository ON DELETE CASCADE,
    extra             text[] NOT NULL DEFAULT '{}',
    excluded          text[] NOT NULL DEFAULT '{}',
    -- Tasks of urgent policies are claimed first.
    urgent            boolean NOT NULL DEFAULT false,
    -- A manifest is accepted once its blobs are at this number of locations, and refused after this
    -- number of seconds.
    sync_copies       integer CHECK (sync_copies > 1),
    sync_seconds      integer CHECK (sync_seconds > 0),
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((namespace_user_id IS NULL) <> (repository_id IS NULL)),
    CHECK (NOT extra && excluded),
    CHECK ((sync_copies IS NULL) = (sync_seconds IS NULL))
);

-- Blobs ---------------------------------------------------------------------------------------

-- A blob. Its bytes are in the stores, at the address that content_checksum gives.
CREATE TABLE imagestorage (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid             uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    content_checksum text NOT NULL UNIQUE,
    image_size       bigint NOT NULL CHECK (image_size >= 0),
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- The label quay.expires-after of an image, read when its configuration was uploaded.
    expires_after_s  bigint,
    -- Set by the garbage collector on an unreferenced blob. A push, a mount or a manifest clears it;
    -- after a grace period the placements are deleted, then the objects, then the row.
    tombstone_at     timestamptz
);
CREATE INDEX imagestorage_tombstone ON imagestorage (tombstone_at) WHERE tombstone_at IS NOT NULL;
-- For the comparison with a store's inventory, which is sorted by bytes.
CREATE INDEX imagestorage_checksum_bytes ON imagestorage (content_checksum COLLATE "C");

-- A blob is at a location: written only after its bytes there were hashed. A 'suspect' placement is
-- in quarantine: its bytes were wrong once. It is rewritten from another one, and read only where
-- there is no other.
CREATE TABLE imagestorageplacement (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    storage_id  bigint NOT NULL REFERENCES imagestorage,
    location_id bigint NOT NULL REFERENCES imagestoragelocation,
    state       text NOT NULL DEFAULT 'good' CHECK (state IN ('good', 'suspect')),
    verified_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (storage_id, location_id)
);
CREATE INDEX imagestorageplacement_location ON imagestorageplacement (location_id);
-- The scrub begins with the placements that were verified longest ago.
CREATE INDEX imagestorageplacement_verified ON imagestorageplacement (location_id, verified_at);
-- Copies in quarantine are verified first.
CREATE INDEX imagestorageplacement_suspect
    ON imagestorageplacement (location_id, verified_at, id) WHERE state = 'suspect';

-- One upload. `chunks` lists the chunks that arrived: [{key, digest, size, location}]. The first one
-- is at the content address of `first_digest`, because it may turn out to be the whole blob. An ended
-- upload stays until its objects are deleted, and one of a deleted repository as well: only the row
-- knows of those objects.
CREATE TABLE blobupload (
    uuid            uuid PRIMARY KEY,
    repository_id   bigint REFERENCES repository ON DELETE SET NULL,
    byte_count      bigint NOT NULL DEFAULT 0,
    chunks          jsonb NOT NULL DEFAULT '[]',
    first_digest    text,
    first_location  text,
    ended           boolean NOT NULL DEFAULT false,
    -- Only objects that this upload wrote since then can be relied on.
    trusted_since   timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_after_s bigint,
    -- Failed attempts to delete the objects of an ended upload.
    attempts        integer NOT NULL DEFAULT 0
);
CREATE INDEX blobupload_first_digest ON blobupload (first_digest) WHERE first_digest IS NOT NULL;
CREATE INDEX blobupload_changed ON blobupload (changed_at);
CREATE INDEX blobupload_repository ON blobupload (repository_id);

-- The right of a repository to a blob that was uploaded or mounted there. Until a manifest refers to
-- the blob, nothing else keeps it.
CREATE TABLE uploadedblob (
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    blob_id       bigint NOT NULL REFERENCES imagestorage,
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (repository_id, blob_id)
);
CREATE INDEX uploadedblob_blob ON uploadedblob (blob_id);
CREATE INDEX uploadedblob_expires ON uploadedblob (expires_at);

-- An announced or finished deletion of an object at a content address. An upload that began before
-- it may have written the same object, so it checks here before it relies on that object.
CREATE TABLE contentdeletion (
    digest        text NOT NULL,
    location      text NOT NULL,
    -- The latest moment at which the object may disappear: in the future while a deletion is under
    -- way or its outcome is unknown.
    deleted_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Identifies the process that announced it; null once the outcome is recorded.
    deleter       uuid,
    announced_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Until then the store may still carry out a request that it did not answer.
    unknown_until timestamptz
);
CREATE INDEX contentdeletion_digest ON contentdeletion (digest);
CREATE INDEX contentdeletion_deleted ON contentdeletion (deleted_at);
CREATE INDEX contentdeletion_deleter ON contentdeletion (deleter);

-- The delete queue of each location: objects to delete, unless their blob was placed there again.
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

-- Removal and loss of locations ---------------------------------------------------------------

-- A removal under way. Until the row of the location is deleted, and this one with it, the removal
-- can be undone from here.
CREATE TABLE locationremoval (
    location_id  bigint PRIMARY KEY REFERENCES imagestoragelocation ON DELETE CASCADE,
    state_before text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE removedplacement (
    location_id bigint NOT NULL REFERENCES locationremoval ON DELETE CASCADE,
    storage_id  bigint NOT NULL REFERENCES imagestorage ON DELETE CASCADE,
    state       text NOT NULL,
    verified_at timestamptz NOT NULL,
    PRIMARY KEY (location_id, storage_id)
);
CREATE INDEX removedplacement_storage ON removedplacement (storage_id);

-- Blobs that were lost with a location whose store never came back. A blob that was pushed again has
-- a good placement, whatever is recorded here.
CREATE TABLE lostblob (
    storage_id bigint PRIMARY KEY REFERENCES imagestorage ON DELETE CASCADE,
    location   text NOT NULL,
    lost_at    timestamptz NOT NULL DEFAULT now()
);

-- Replication ---------------------------------------------------------------------------------

-- A blob is to be copied to a location. The row is deleted in the transaction that writes the
-- placement.
CREATE TABLE replicationtask (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    storage_id    bigint NOT NULL REFERENCES imagestorage,
    location_id   bigint NOT NULL REFERENCES imagestoragelocation,
    created_at    timestamptz NOT NULL DEFAULT now(),
    available_at  timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    lease_expires timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    -- The multipart upload of an interrupted attempt, which the next one resumes.
    upload_id     text,
    -- Small and large blobs are claimed separately, so that neither waits for the other.
    large         boolean NOT NULL DEFAULT false,
    urgent        boolean NOT NULL DEFAULT false,
    -- The blob's size, so that lag is known from this table alone.
    image_size    bigint,
    UNIQUE (storage_id, location_id)
);
CREATE INDEX replicationtask_urgent
    ON replicationtask (location_id, large, urgent DESC, available_at, id);
CREATE INDEX replicationtask_failed ON replicationtask (location_id, id)
    WHERE last_error IS NOT NULL;
-- Unfinished multipart uploads, whose parts are kept, are looked up once an hour.
CREATE INDEX replicationtask_upload ON replicationtask (upload_id) WHERE upload_id IS NOT NULL;

-- Size and queue of a task, where the statement that writes it leaves them out. `large` only decides
-- which claim returns the task, so a later limit needs no update of existing rows.
CREATE FUNCTION replicationtask_sized() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.image_size IS NULL THEN
        SELECT s.image_size INTO NEW.image_size FROM imagestorage s WHERE s.id = NEW.storage_id;
    END IF;
    NEW.large := NEW.image_size > 8 * 1024 * 1024;
    RETURN NEW;
END
$$;

CREATE TRIGGER replicationtask_sized BEFORE INSERT ON replicationtask
FOR EACH ROW WHEN (NEW.image_size IS NULL OR NEW.large <> (NEW.image_size > 8 * 1024 * 1024))
EXECUTE FUNCTION replicationtask_sized();

-- Reports the locations of new tasks to the client that wrote them; that client notifies the workers
-- after its commit. A notification within the transaction would hold a lock of the whole cluster
-- during the commit, which includes the wait for a synchronous standby.
--
-- INFO is the level that client_min_messages cannot suppress and that the server does not log.
CREATE FUNCTION replicationtask_written() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    locations json;
BEGIN
    SELECT json_agg(l.name) INTO locations
    FROM (SELECT DISTINCT location_id FROM written) w
    JOIN imagestoragelocation l ON l.id = w.location_id;
    IF locations IS NOT NULL THEN
        RAISE INFO USING MESSAGE = 'atoll_replication ' || locations;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER replicationtask_written AFTER INSERT ON replicationtask
REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION replicationtask_written();

-- Verification --------------------------------------------------------------------------------

-- A run of `atoll verify`: its scope, its position (placements up to the id `done` are verified) and
-- its counts so far, so that an interrupted run resumes.
CREATE TABLE verification (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope       jsonb NOT NULL,
    counts      jsonb NOT NULL DEFAULT '{}',
    done        bigint NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT now(),
    changed_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
-- Old runs are deleted in batches.
CREATE INDEX verification_changed ON verification (changed_at);

-- A defect that a run found. It holds only until the placement is rewritten, which changes
-- `verified_at`. 'sound' is a placement in quarantine whose bytes are right.
CREATE TABLE verificationfinding (
    verification_id bigint NOT NULL REFERENCES verification ON DELETE CASCADE,
    placement_id    bigint NOT NULL REFERENCES imagestorageplacement ON DELETE CASCADE,
    verified_at     timestamptz NOT NULL,
    defect          text NOT NULL
                    CHECK (defect IN ('missing', 'wrong size', 'wrong digest', 'sound')),
    PRIMARY KEY (verification_id, placement_id)
);
CREATE INDEX verificationfinding_placement ON verificationfinding (placement_id);

-- The position of a location's scrub among its placements of each state, in order of `verified_at`
-- and id. It outlives restarts and is shared by all workers of a site, so a placement that cannot be
-- verified never hides those behind it. A column of the placements would need an index over all of
-- them.
CREATE TABLE scrubpass (
    location_id  bigint NOT NULL REFERENCES imagestoragelocation ON DELETE CASCADE,
    state        text NOT NULL CHECK (state IN ('good', 'suspect')),
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    verified_at  timestamptz NOT NULL DEFAULT '-infinity',
    placement_id bigint NOT NULL DEFAULT 0,
    looked_at    timestamptz,
    PRIMARY KEY (location_id, state)
);

-- The worker of another site (`doubted_by`, the name of its location) read wrong bytes at a
-- location. The copy stays good until the location's own site has read it completely; `looked_at` is
-- its last attempt that could not.
CREATE TABLE placementdoubt (
    storage_id  bigint NOT NULL,
    location_id bigint NOT NULL,
    doubted_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    doubted_by  text NOT NULL,
    reason      text NOT NULL,
    looked_at   timestamptz,
    PRIMARY KEY (storage_id, location_id),
    FOREIGN KEY (storage_id, location_id)
        REFERENCES imagestorageplacement (storage_id, location_id) ON DELETE CASCADE
);
CREATE INDEX placementdoubt_location ON placementdoubt (location_id, doubted_at);

-- Manifests and tags --------------------------------------------------------------------------

CREATE TABLE manifest (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id  bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    digest         text NOT NULL,
    media_type     text NOT NULL,
    manifest_bytes bytea NOT NULL,
    subject        text,
    artifact_type  text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    -- A deleted manifest is kept for a while, so that the time machine can restore it.
    deleted_at     timestamptz,
    -- The last push. An untagged manifest is kept for a while after it, because clients push the
    -- manifests of an index before the index.
    pushed_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (repository_id, digest)
);
CREATE INDEX manifest_subject ON manifest (repository_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX manifest_deleted ON manifest (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE manifestblob (
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    manifest_id   bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    blob_id       bigint NOT NULL REFERENCES imagestorage,
    PRIMARY KEY (manifest_id, blob_id)
);
CREATE INDEX manifestblob_repository ON manifestblob (repository_id, blob_id);
CREATE INDEX manifestblob_blob ON manifestblob (blob_id);

CREATE TABLE manifestchild (
    manifest_id       bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    child_manifest_id bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    PRIMARY KEY (manifest_id, child_manifest_id)
);
CREATE INDEX manifestchild_child ON manifestchild (child_manifest_id);

-- A label that was added through the API; those of the image are read from its configuration.
CREATE TABLE manifestlabel (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid        uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    manifest_id bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    key         text NOT NULL,
    value       text NOT NULL,
    media_type  text NOT NULL,
    UNIQUE (manifest_id, key, value)
);

-- The history of tags: the row without an end is the current one.
CREATE TABLE tag (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id     bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    name              text NOT NULL,
    manifest_id       bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    lifetime_start_ms bigint NOT NULL,
    lifetime_end_ms   bigint,
    -- A tag may expire in the future. The row stays as it is until another statement ends it; every
    -- reader compares this with the database's clock.
    expires_ms        bigint,
    -- Whether this row restored an earlier manifest.
    reversion         boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX tag_alive ON tag (repository_id, name) WHERE lifetime_end_ms IS NULL;
CREATE INDEX tag_manifest ON tag (manifest_id);
CREATE INDEX tag_history ON tag (repository_id, name, lifetime_end_ms);

-- Log and statistics --------------------------------------------------------------------------

-- The log of actions. Names, not references: an entry outlives its objects.
CREATE TABLE logentry (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL,
    namespace  text,
    repository text,
    performer  text,
    ip         text,
    metadata   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX logentry_namespace ON logentry (namespace, repository, id DESC);
CREATE INDEX logentry_performer ON logentry (performer, id DESC);
CREATE INDEX logentry_created ON logentry (created_at);

-- A part of the log that was requested as a file. The requester is notified at `callback_url`, which
-- is encrypted because it may contain a secret of the receiver.
CREATE TABLE logexport (
    uuid          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    namespace     text NOT NULL,
    repository    text,
    start_time    timestamptz NOT NULL,
    end_time      timestamptz NOT NULL,
    callback_url  text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    available_at  timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    lease_expires timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    -- The location of the file; the row is kept until the file is deleted.
    location      text,
    size          bigint,
    ended_at      timestamptz
);
CREATE INDEX logexport_next ON logexport (available_at) WHERE ended_at IS NULL;
CREATE INDEX logexport_ended ON logexport (ended_at) WHERE ended_at IS NOT NULL;

-- Number and date of pulls of each tag and manifest. Separate from the log, which is rotated. A
-- manifest that is pulled by a tag counts for both.
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

-- Notifications -------------------------------------------------------------------------------

-- A subscription to events of a repository. `config` contains the address of the receiver, which is
-- a secret of his, and is encrypted.
CREATE TABLE repositorynotification (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid               uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    repository_id      bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    event              text NOT NULL,
    method             text NOT NULL,
    title              text,
    config             text NOT NULL,
    event_config       jsonb NOT NULL DEFAULT '{}',
    number_of_failures integer NOT NULL DEFAULT 0,
    created_at         timestamptz NOT NULL DEFAULT now(),
    -- The last request for a test notification.
    tested_at          timestamptz
);
CREATE INDEX repositorynotification_repository ON repositorynotification (repository_id);

-- One event for one receiver. The row is written in the transaction of the event and deleted after
-- delivery.
CREATE TABLE notificationdelivery (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notification_id bigint NOT NULL REFERENCES repositorynotification ON DELETE CASCADE,
    event_data      jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    available_at    timestamptz NOT NULL DEFAULT now(),
    lease_token     uuid,
    lease_expires   timestamptz,
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text,
    -- Namespaces take turns.
    namespace_id    bigint NOT NULL DEFAULT 0
);
CREATE INDEX notificationdelivery_turns ON notificationdelivery (namespace_id, available_at, id);
CREATE INDEX notificationdelivery_notification ON notificationdelivery (notification_id);

-- Instances -----------------------------------------------------------------------------------

-- A running container: its site, its heartbeat, and hashes of the keys of its bundle, so that drift
-- is visible. `stores` is the health of each store as this instance sees it:
-- {location: {"up": true, "cause": null}}.
CREATE TABLE instance (
    id                 uuid PRIMARY KEY,
    role               text NOT NULL,
    hostname           text NOT NULL,
    version            text NOT NULL,
    preference         text[] NOT NULL,
    bundle_fingerprint jsonb NOT NULL,
    started_at         timestamptz NOT NULL DEFAULT now(),
    seen_at            timestamptz NOT NULL DEFAULT now(),
    stores             jsonb NOT NULL DEFAULT '{}'
);

-- Cache keys whose deletion Redis did not confirm. They are kept here, not in the process, which may
-- end before Redis is available again; any process that reaches Redis deletes them.
CREATE TABLE lostcachedeletion (
    key        text PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX lostcachedeletion_deleted ON lostcachedeletion (deleted_at);
