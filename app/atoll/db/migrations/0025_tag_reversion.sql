-- Whether a row of a tag's history brought back what the tag meant before.
ALTER TABLE tag ADD COLUMN reversion boolean NOT NULL DEFAULT false;

-- A token that was made for an application in its settings, rather than by a user's yes, has a name.
ALTER TABLE oauthaccesstoken ADD COLUMN name text;

-- Somebody who administers an application asked a user to give it a token. The user's yes makes the
-- token and takes the row away.
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
