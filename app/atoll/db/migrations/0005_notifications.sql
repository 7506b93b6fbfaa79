-- The creator of a notification, a permitted target of it; NULL for those of earlier versions.
ALTER TABLE repositorynotification
    ADD COLUMN creator_id bigint REFERENCES "user" ON DELETE SET NULL;

-- Notices that users and administrators of organizations read in the API. The name is Quay's.
CREATE TABLE notification (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid        uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    kind        text NOT NULL,
    -- A user or an organization.
    target_id   bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    metadata    jsonb NOT NULL,
    dismissed   boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- The delivery that wrote the notice; its repetition writes no other.
    delivery_id bigint NOT NULL,
    -- The subscription that the notice is of.
    source_id   bigint NOT NULL REFERENCES repositorynotification ON DELETE CASCADE,
    UNIQUE (target_id, delivery_id)
);
CREATE INDEX notification_target ON notification (target_id, id DESC);
CREATE INDEX notification_source ON notification (source_id, target_id, id DESC);

-- Addresses that may receive notifications of a repository by e-mail, once their owner has opened
-- the link with the code. Only a hash of the code is stored. The name is Quay's.
CREATE TABLE repositoryauthorizedemail (
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    email         text NOT NULL,
    code_hash     bytea NOT NULL UNIQUE,
    confirmed     boolean NOT NULL DEFAULT false,
    -- When the link was sent last.
    requested_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repository_id, email)
);

-- The messages with links of the last day, by address in lower case. No row refers to others: who
-- deletes a repository or a namespace may not send more.
CREATE TABLE confirmationmessage (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_user_id bigint NOT NULL,
    address           text NOT NULL,
    sent_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX confirmationmessage_address ON confirmationmessage (address, sent_at);
CREATE INDEX confirmationmessage_namespace ON confirmationmessage (namespace_user_id, sent_at);
CREATE INDEX confirmationmessage_sent ON confirmationmessage (sent_at);
