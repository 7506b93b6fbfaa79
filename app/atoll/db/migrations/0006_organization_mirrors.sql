-- Mirrors of organizations. Each repository that the upstream lists in a namespace becomes a mirror
-- with the settings of the organization's. The names are Quay's where it has one.
CREATE TABLE orgmirrorconfig (
    id                       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id          bigint NOT NULL UNIQUE REFERENCES "user" ON DELETE CASCADE,
    -- Checked at the end of a transaction that deletes an organization with its robots.
    internal_robot_id        bigint NOT NULL REFERENCES "user" DEFERRABLE INITIALLY DEFERRED,
    is_enabled               boolean NOT NULL DEFAULT true,
    external_registry_type   text NOT NULL
                             CHECK (external_registry_type IN ('harbor', 'quay', 'oci')),
    external_registry_url    text NOT NULL,
    external_namespace       text NOT NULL,
    external_registry_username text,
    -- Encrypted, bound to the organization.
    external_registry_password text,
    external_registry_config jsonb NOT NULL DEFAULT '{}',
    -- The passwords in the URLs of proxies, encrypted.
    proxy_passwords          text,
    -- Patterns of repositories; all if empty.
    repository_filters       text[] NOT NULL DEFAULT '{}',
    visibility               text NOT NULL CHECK (visibility IN ('public', 'private')),
    -- The patterns of tags, in the form of repomirrorconfig.
    root_rule                jsonb NOT NULL,
    architecture_filter      text[] NOT NULL DEFAULT '{}',
    sync_interval            integer NOT NULL CHECK (sync_interval >= 60),
    sync_start_date          timestamptz NOT NULL,
    skopeo_timeout           integer NOT NULL DEFAULT 300 CHECK (skopeo_timeout > 0),
    options                  jsonb NOT NULL DEFAULT '{}',
    created_at               timestamptz NOT NULL DEFAULT now(),

    -- The state of the discovery of repositories.
    sync_status              text NOT NULL DEFAULT 'NEVER_RUN' CHECK (sync_status IN
                             ('NEVER_RUN', 'SYNC_NOW', 'SYNCING', 'SUCCESS', 'FAIL', 'CANCEL')),
    reason                   text,
    status_message           text,
    retries_remaining        integer NOT NULL DEFAULT 3,
    next_at                  timestamptz,
    -- Whether the discovery was requested, which requests runs of all repositories, too.
    requested_at             timestamptz,
    started_at               timestamptz,
    finished_at              timestamptz,
    last_success_at          timestamptz,
    -- Refusals of the credentials in a row.
    refusals                 integer NOT NULL DEFAULT 0,
    lease_token              uuid,
    lease_expires            timestamptz,
    attempts                 integer NOT NULL DEFAULT 0,
    available_at             timestamptz NOT NULL DEFAULT now(),
    last_error               text
);
CREATE INDEX orgmirrorconfig_robot ON orgmirrorconfig (internal_robot_id);

-- A repository that the upstream lists, or listed.
CREATE TABLE orgmirrorrepository (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_mirror_id   bigint NOT NULL REFERENCES orgmirrorconfig ON DELETE CASCADE,
    -- Without the namespace.
    name            text NOT NULL,
    -- `found`: it is a mirror. `skipped`: the last discovery did not select it; it keeps its content.
    -- `conflict`: it cannot be a mirror.
    state           text NOT NULL CHECK (state IN ('found', 'skipped', 'conflict')),
    message         text,
    discovered_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_mirror_id, name)
);

-- The mirror of an organization that a mirror belongs to.
ALTER TABLE repomirrorconfig
    ADD COLUMN org_mirror_id bigint REFERENCES orgmirrorconfig ON DELETE CASCADE;
CREATE INDEX repomirrorconfig_organization ON repomirrorconfig (org_mirror_id)
    WHERE org_mirror_id IS NOT NULL;

CREATE TRIGGER orgmirrorconfig_created AFTER INSERT ON orgmirrorconfig
FOR EACH ROW WHEN (NEW.is_enabled AND NEW.next_at <= clock_timestamp())
EXECUTE FUNCTION mirror_work_written('discover');

CREATE TRIGGER orgmirrorconfig_due
AFTER UPDATE OF requested_at, next_at, is_enabled ON orgmirrorconfig
FOR EACH ROW WHEN (NEW.sync_status <> 'SYNCING' AND (NEW.requested_at IS NOT NULL
    OR (NEW.is_enabled AND NEW.next_at <= clock_timestamp())))
EXECUTE FUNCTION mirror_work_written('discover');
