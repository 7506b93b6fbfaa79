-- When a manifest was pushed last: one that no tag means is kept for a while from then on, so that
-- a client can go on to what it pushes it for.
ALTER TABLE manifest ADD COLUMN pushed_at timestamptz NOT NULL DEFAULT now();
