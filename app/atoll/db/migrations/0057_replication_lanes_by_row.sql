-- A task's size and lane are set as its row is written. The update afterwards, of 0050, wrote each
-- row twice and compared every new row with every task: minutes for the 20 000 of one statement.
CREATE FUNCTION replicationtask_sized() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.image_size IS NULL THEN
        SELECT s.image_size INTO NEW.image_size FROM imagestorage s WHERE s.id = NEW.storage_id;
    END IF;
    NEW.large := NEW.image_size > 8 * 1024 * 1024;
    RETURN NEW;
END
$$;

CREATE TRIGGER replicationtask_sized BEFORE INSERT ON replicationtask
FOR EACH ROW EXECUTE FUNCTION replicationtask_sized();

CREATE OR REPLACE FUNCTION replicationtask_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('atoll_replication', l.name)
    FROM (SELECT DISTINCT location_id FROM written) w
    JOIN imagestoragelocation l ON l.id = w.location_id;
    RETURN NULL;
END
$$;
