-- Who is to be told of what happens in a repository, and what is still to be told.

-- `config` says where to, and is encrypted: the address of a webhook is a secret of the receiver's.
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
    created_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX repositorynotification_repository ON repositorynotification (repository_id);

-- One thing to tell one receiver. The row goes in the transaction in which the thing happens, and
-- goes away when it was told. A lease is held while `lease_expires` is ahead of the database's clock.
CREATE TABLE notificationdelivery (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notification_id bigint NOT NULL REFERENCES repositorynotification ON DELETE CASCADE,
    event_data      jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    available_at    timestamptz NOT NULL DEFAULT now(),
    lease_token     uuid,
    lease_expires   timestamptz,
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text
);
CREATE INDEX notificationdelivery_next ON notificationdelivery (available_at, id);
CREATE INDEX notificationdelivery_notification ON notificationdelivery (notification_id);
