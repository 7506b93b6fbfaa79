-- What signs tokens and upload states where a bundle names no secret. All sites share this
-- database, so they agree; there is one row, made here and never again.

CREATE TABLE signingsecret (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    secret bytea NOT NULL CHECK (octet_length(secret) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Each UUID of PostgreSQL's carries 122 bits of the operating system's strong randomness.
INSERT INTO signingsecret (secret)
SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
           || uuid_send(gen_random_uuid()));
