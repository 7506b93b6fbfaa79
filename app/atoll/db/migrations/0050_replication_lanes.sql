-- Small blobs are claimed apart from large ones, so neither waits behind the other; and whoever
-- writes a task rings for the worker with the same statement.
--
-- `large` is set by the trigger, not by those who write tasks: what an older version writes is told
-- apart, too. It only decides who claims a task, so a limit that changes later needs no update.
ALTER TABLE replicationtask ADD COLUMN large boolean NOT NULL DEFAULT false;
CREATE INDEX replicationtask_lane ON replicationtask (location_id, large, available_at, id);

-- A plan is kept for later calls: made for one row it must do for thousands, and the other way
-- round, so tables are never read as a whole.
CREATE FUNCTION replicationtask_written() RETURNS trigger
LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    UPDATE replicationtask t SET large = true
    FROM written w JOIN imagestorage s ON s.id = w.storage_id
    WHERE t.id = w.id AND s.image_size > 8 * 1024 * 1024;
    PERFORM pg_notify('atoll_replication', l.name) FROM imagestoragelocation l
    WHERE EXISTS (SELECT FROM written w WHERE w.location_id = l.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER replicationtask_written AFTER INSERT ON replicationtask
REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION replicationtask_written();

UPDATE replicationtask t SET large = true
FROM imagestorage s WHERE s.id = t.storage_id AND s.image_size > 8 * 1024 * 1024;
