-- A program that an organization lets ask its users for tokens of the API.
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

ALTER TABLE oauthaccesstoken
    ADD COLUMN application_id bigint REFERENCES oauthapplication ON DELETE CASCADE;
CREATE INDEX oauthaccesstoken_application ON oauthaccesstoken (application_id)
    WHERE application_id IS NOT NULL;
