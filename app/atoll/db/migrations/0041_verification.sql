-- A run of the verification: what it was asked to look at, how far it is and what it counted so far,
-- so that one that was cut off goes on. Placements up to the id `done` were looked at.
CREATE TABLE verification (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope       jsonb NOT NULL,
    counts      jsonb NOT NULL DEFAULT '{}',
    done        bigint NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT now(),
    changed_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

-- What a run found. It holds only as long as the placement was not written anew, which changes
-- `verified_at`. 'sound' is a placement in quarantine whose bytes are right.
CREATE TABLE verificationfinding (
    verification_id bigint NOT NULL REFERENCES verification ON DELETE CASCADE,
    placement_id    bigint NOT NULL REFERENCES imagestorageplacement ON DELETE CASCADE,
    verified_at     timestamptz NOT NULL,
    defect          text NOT NULL
                    CHECK (defect IN ('missing', 'wrong size', 'wrong digest', 'sound')),
    PRIMARY KEY (verification_id, placement_id)
);
CREATE INDEX verificationfinding_placement ON verificationfinding (placement_id);

-- For the verification in the background, which begins with what was not looked at for longest.
CREATE INDEX imagestorageplacement_verified ON imagestorageplacement (location_id, verified_at);
