-- Namespaces take turns at deliveries. An earlier version writes 0, which counts as one namespace.
ALTER TABLE notificationdelivery ADD COLUMN namespace_id bigint NOT NULL DEFAULT 0;
CREATE INDEX notificationdelivery_turns ON notificationdelivery (namespace_id, available_at, id);

-- When the last test of a notification was requested.
ALTER TABLE repositorynotification ADD COLUMN tested_at timestamptz;
