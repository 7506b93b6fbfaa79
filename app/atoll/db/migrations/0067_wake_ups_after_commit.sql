-- A transaction that notifies holds a lock of the whole cluster while it commits, which includes the
-- wait for a synchronous standby: commits that wrote tasks were confirmed one after the other. The
-- trigger now only reports the locations to the client that wrote the tasks; that one notifies after
-- its commit, in a transaction that waits for nothing.
--
-- INFO is the level that client_min_messages cannot suppress and that the server does not log.
-- Clients of an earlier version ignore it, and workers then find these tasks by polling.
CREATE OR REPLACE FUNCTION replicationtask_written() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    locations json;
BEGIN
    SELECT json_agg(l.name) INTO locations
    FROM (SELECT DISTINCT location_id FROM written) w
    JOIN imagestoragelocation l ON l.id = w.location_id;
    IF locations IS NOT NULL THEN
        RAISE INFO USING MESSAGE = 'atoll_replication ' || locations;
    END IF;
    RETURN NULL;
END
$$;
