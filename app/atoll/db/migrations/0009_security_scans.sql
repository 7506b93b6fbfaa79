-- Security scans by Clair.
--
-- A scan belongs to a digest, not to a manifest as in Quay: manifests are per repository, while the
-- scanner has one report per digest. An image that is in many repositories is therefore indexed,
-- leased, counted and stored once, without agreement between rows. `manifestsecurityscan` relates
-- the manifests to it, and the view `manifestsecuritystatus` has Quay's columns.

CREATE TABLE securityscan (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest          text NOT NULL UNIQUE,
    -- Quay's numbers: -4 retries exhausted, -3 layer too large, -2 unsupported, -1 failed, 0 pending,
    -- 2 completed. 1, in progress, is not stored: a pending image is in progress while it is leased,
    -- so that no state outlives a lease.
    index_status    smallint NOT NULL DEFAULT 0 CHECK (index_status IN (-4, -3, -2, -1, 0, 2)),
    -- The state of the indexer that made the last report; '' without a report.
    indexer_hash    text NOT NULL DEFAULT '',
    -- The state of the indexer at the last attempt that ended, and the attempts that failed with it.
    attempted_hash  text NOT NULL DEFAULT '',
    failures        integer NOT NULL DEFAULT 0,
    -- The end of the last attempt.
    last_indexed    timestamptz,
    -- The vulnerabilities of the last report by severity, {"High": 1}. One column, not one for each
    -- severity, because the list of tags returns them as they are.
    severity_counts jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    -- Existing images wait until all pushed images are scanned.
    is_backfill     boolean NOT NULL DEFAULT false,
    -- 'infinity' once nothing remains to be done until the state of the indexer changes.
    available_at    timestamptz NOT NULL DEFAULT now(),
    lease_token     uuid,
    lease_expires   timestamptz,
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text
);
CREATE INDEX securityscan_due ON securityscan (is_backfill, available_at, id)
    WHERE available_at < 'infinity';
-- Images to index again, of each earlier state of the indexer in the order of their last index.
CREATE INDEX securityscan_indexed ON securityscan (attempted_hash, last_indexed, id)
    WHERE index_status IN (2, -4) AND available_at = 'infinity';
-- For the figures of the queue.
CREATE INDEX securityscan_status ON securityscan (index_status);
CREATE INDEX securityscan_leased ON securityscan (lease_expires) WHERE lease_token IS NOT NULL;

-- Report new work to the client that wrote it; that client notifies the workers after its commit, as
-- it does for `replicationtask`.
CREATE FUNCTION security_work_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO USING MESSAGE = 'atoll_scan ["' || TG_ARGV[0] || '"]';
    RETURN NULL;
END
$$;

CREATE TRIGGER securityscan_written AFTER INSERT ON securityscan
FOR EACH ROW WHEN (NOT NEW.is_backfill)
EXECUTE FUNCTION security_work_written('scan');

CREATE TABLE manifestsecurityscan (
    manifest_id bigint PRIMARY KEY REFERENCES manifest ON DELETE CASCADE,
    scan_id     bigint NOT NULL REFERENCES securityscan
);
CREATE INDEX manifestsecurityscan_scan ON manifestsecurityscan (scan_id);

CREATE VIEW manifestsecuritystatus AS
SELECT m.manifest_id, manifest.repository_id,
       CASE WHEN s.index_status <= 0 AND s.index_status >= -1
                 AND s.lease_expires > clock_timestamp() THEN 1 ELSE s.index_status END
           AS index_status,
       CASE WHEN s.last_error IS NULL THEN jsonb_build_object()
            ELSE jsonb_build_object('message', s.last_error) END AS error_json,
       s.last_indexed, s.indexer_hash, 4 AS indexer_version, jsonb_build_object() AS metadata_json
FROM manifestsecurityscan m JOIN manifest ON manifest.id = m.manifest_id
JOIN securityscan s ON s.id = m.scan_id;

-- The last report, compressed, which is served while no scanner responds. Kept for 30 days.
CREATE TABLE manifestsecurityreport (
    scan_id       bigint PRIMARY KEY REFERENCES securityscan ON DELETE CASCADE,
    report        bytea NOT NULL,
    indexer_state text NOT NULL,
    fetched_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Reports are compressed already.
ALTER TABLE manifestsecurityreport ALTER COLUMN report SET STORAGE EXTERNAL;
CREATE INDEX manifestsecurityreport_fetched ON manifestsecurityreport (fetched_at);

-- A manifest with a scan was deleted. If it was the last one of its digest, the scanner is asked to
-- delete its report. Transactions that delete the last two manifests of a digest at the same time do
-- not see each other, so each of them writes a row, and the claim decides. Rows are not unique, so
-- that these transactions do not wait for each other.
CREATE TABLE securityscanremoval (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest        text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    available_at  timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    lease_expires timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text
);
CREATE INDEX securityscanremoval_next ON securityscanremoval (available_at, id);
CREATE INDEX securityscanremoval_digest ON securityscanremoval (digest, id);

CREATE FUNCTION manifestsecurityscan_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO securityscanremoval (digest)
    SELECT s.digest FROM securityscan s WHERE s.id = OLD.scan_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER manifestsecurityscan_deleted AFTER DELETE ON manifestsecurityscan
FOR EACH ROW EXECUTE FUNCTION manifestsecurityscan_deleted();

-- A notification that a scanner sent, by its identifier. The row is kept for a while after the end,
-- so that a repeated delivery has no effect.
CREATE TABLE securitynotification (
    uuid          uuid PRIMARY KEY,
    -- `pending`: pages remain to be read. `read`: the notices are written, and the scanner is asked to
    -- delete the notification. `ended`: it was.
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'read', 'ended')),
    -- The page to read next, and what was read before it.
    next_page     text,
    progress      jsonb NOT NULL DEFAULT '{}',
    received_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at      timestamptz,
    available_at  timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    lease_expires timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text
);
CREATE TRIGGER securitynotification_written AFTER INSERT ON securitynotification
FOR EACH ROW EXECUTE FUNCTION security_work_written('notification');
CREATE INDEX securitynotification_next ON securitynotification (available_at)
    WHERE state <> 'ended';
CREATE INDEX securitynotification_ended ON securitynotification (ended_at)
    WHERE state = 'ended';

-- The greatest id of the manifests that the backfill has not examined; without a row, it has not
-- begun. A row of 0: it is complete.
CREATE TABLE securitybackfill (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    remaining  bigint NOT NULL,
    total      bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
