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
    UNIQUE (target_id, delivery_id)
);
CREATE INDEX notification_target ON notification (target_id, id DESC);
