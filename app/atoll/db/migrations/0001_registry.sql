-- The first schema. Tables that operators of Quay look at keep Quay's names and columns.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Accounts ------------------------------------------------------------------------------------

-- Users and organizations share one table because they share one space of names.
CREATE TABLE "user" (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid          uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    username      text NOT NULL UNIQUE,
    email         text,
    password_hash text,
    organization  boolean NOT NULL DEFAULT false,
    enabled       boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (NOT organization OR password_hash IS NULL)
);
CREATE UNIQUE INDEX user_email ON "user" (lower(email)) WHERE email IS NOT NULL;

CREATE TABLE team (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    name            text NOT NULL,
    role            text NOT NULL CHECK (role IN ('member', 'creator', 'admin')),
    UNIQUE (organization_id, name)
);

CREATE TABLE teammember (
    team_id bigint NOT NULL REFERENCES team ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX teammember_user ON teammember (user_id);

-- Repositories --------------------------------------------------------------------------------

CREATE TABLE repository (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_user_id bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    name              text NOT NULL,
    visibility        text NOT NULL CHECK (visibility IN ('public', 'private')),
    description       text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
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

-- Storage -------------------------------------------------------------------------------------

CREATE TABLE imagestoragelocation (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'active'
          CHECK (state IN ('active', 'read-only', 'draining', 'removed'))
);

-- A blob. Its bytes are in the stores, at the address that content_checksum gives.
CREATE TABLE imagestorage (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid             uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    content_checksum text NOT NULL UNIQUE,
    image_size       bigint NOT NULL CHECK (image_size >= 0),
    created_at       timestamptz NOT NULL DEFAULT now()
);

-- A blob is at a location: written only after its bytes there were hashed. A 'suspect' placement
-- proved wrong once; it is healed from another one and read only where no other is left.
CREATE TABLE imagestorageplacement (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    storage_id  bigint NOT NULL REFERENCES imagestorage,
    location_id bigint NOT NULL REFERENCES imagestoragelocation,
    state       text NOT NULL DEFAULT 'good' CHECK (state IN ('good', 'suspect')),
    verified_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (storage_id, location_id)
);
CREATE INDEX imagestorageplacement_location ON imagestorageplacement (location_id);

-- One upload. `chunks` lists what arrived: [{key, digest, size, location}]. The first chunk lies at
-- the content address of `first_digest`, for it may turn out to be the whole blob. An upload that
-- ended stays until its objects are gone. No cascade: the row is what knows of those objects.
CREATE TABLE blobupload (
    uuid              uuid PRIMARY KEY,
    repository_id     bigint NOT NULL REFERENCES repository,
    byte_count        bigint NOT NULL DEFAULT 0,
    chunks            jsonb NOT NULL DEFAULT '[]',
    first_digest      text,
    first_location    text,
    ended             boolean NOT NULL DEFAULT false,
    -- Objects that this upload wrote since then, and only those, can be counted on.
    trusted_since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX blobupload_first_digest ON blobupload (first_digest) WHERE first_digest IS NOT NULL;
CREATE INDEX blobupload_changed ON blobupload (changed_at);

-- An object was taken away from a content address. An upload that began before then may have
-- written the same object just before, so it asks here before it counts on it.
CREATE TABLE contentdeletion (
    digest     text NOT NULL,
    location   text NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX contentdeletion_digest ON contentdeletion (digest);
CREATE INDEX contentdeletion_deleted ON contentdeletion (deleted_at);

-- A blob may be used in a repository since it was uploaded or mounted there; before a manifest
-- names it, that is all that keeps it.
CREATE TABLE uploadedblob (
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    blob_id       bigint NOT NULL REFERENCES imagestorage,
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (repository_id, blob_id)
);
CREATE INDEX uploadedblob_blob ON uploadedblob (blob_id);

-- Replication ---------------------------------------------------------------------------------

-- Work to do: this blob is to be copied to this location. The row goes in the transaction that
-- writes the placement. A lease is held while `lease_expires` is ahead of the database's clock.
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
    -- An unfinished multipart upload of an attempt that died; the next attempt aborts it.
    upload_id     text,
    UNIQUE (storage_id, location_id)
);
CREATE INDEX replicationtask_next ON replicationtask (location_id, available_at, id);

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
    -- A deleted manifest stays for a while, so that the time machine can bring it back.
    deleted_at     timestamptz,
    UNIQUE (repository_id, digest)
);
CREATE INDEX manifest_subject ON manifest (repository_id, subject) WHERE subject IS NOT NULL;

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

-- A tag's history: the row without an end is what the tag means now.
CREATE TABLE tag (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id     bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    name              text NOT NULL,
    manifest_id       bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    lifetime_start_ms bigint NOT NULL,
    lifetime_end_ms   bigint
);
CREATE UNIQUE INDEX tag_alive ON tag (repository_id, name) WHERE lifetime_end_ms IS NULL;
CREATE INDEX tag_manifest ON tag (manifest_id);
CREATE INDEX tag_history ON tag (repository_id, name, lifetime_end_ms);

-- Instances -----------------------------------------------------------------------------------

-- Each running process group: where it is, and hashes of its bundle's keys, so that drift shows.
CREATE TABLE instance (
    id                 uuid PRIMARY KEY,
    role               text NOT NULL,
    hostname           text NOT NULL,
    version            text NOT NULL,
    preference         text[] NOT NULL,
    bundle_fingerprint jsonb NOT NULL,
    started_at         timestamptz NOT NULL DEFAULT now(),
    seen_at            timestamptz NOT NULL DEFAULT now()
);
