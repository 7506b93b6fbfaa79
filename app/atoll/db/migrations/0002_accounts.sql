-- Robots, application tokens, default permissions, labels, the audit log, and what the API shows.

-- A robot is a row here because it acts as a user does: it has permissions and is in teams. Its name
-- is NAMESPACE+SHORT, and '+' is in no other name. The secret is encrypted, for its owner may read it.
ALTER TABLE "user"
    ADD COLUMN robot_owner_id bigint REFERENCES "user" ON DELETE CASCADE,
    ADD COLUMN robot_secret text,
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN tag_expiration_s bigint CHECK (tag_expiration_s >= 0),
    ADD CHECK ((robot_owner_id IS NULL) = (robot_secret IS NULL));
CREATE INDEX user_robot_owner ON "user" (robot_owner_id) WHERE robot_owner_id IS NOT NULL;
CREATE INDEX user_name_trigrams ON "user" USING gin (username gin_trgm_ops);

ALTER TABLE team ADD COLUMN description text NOT NULL DEFAULT '';

-- A token that a user gives to one program, as user name `$app`: found by its first half, proved by
-- the second, which is encrypted.
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

-- A token for the API. Only its hash is kept: nobody reads it a second time.
CREATE TABLE oauthaccesstoken (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid       uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    user_id    bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    token_hash text NOT NULL UNIQUE,
    scope      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX oauthaccesstoken_user ON oauthaccesstoken (user_id);

-- A default permission: whoever makes a repository in the organization (or, with an activating
-- user, only that one) makes it with this permission for the delegate.
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

-- A label that was put on a manifest by hand; those of its image are read from the image.
CREATE TABLE manifestlabel (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid        uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    manifest_id bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    key         text NOT NULL,
    value       text NOT NULL,
    media_type  text NOT NULL,
    UNIQUE (manifest_id, key, value)
);

-- Who did what. Names, not references: an entry outlives what it tells of.
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
