-- What people marked, what operators tell everybody, and repositories that nothing is pushed to.
CREATE TABLE star (
    user_id       bigint NOT NULL REFERENCES "user" ON DELETE CASCADE,
    repository_id bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, repository_id)
);
CREATE INDEX star_repository ON star (repository_id);

CREATE TABLE message (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid       uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    content    text NOT NULL,
    severity   text NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    media_type text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE repository ADD COLUMN state text NOT NULL DEFAULT 'NORMAL'
    CHECK (state IN ('NORMAL', 'READ_ONLY', 'MIRROR'));
