-- A task costs less to write: its size is looked up, and its lane set, only where that is not so
-- already; and two indexes go that no version has used since 0055, whose index serves all claims.
CREATE OR REPLACE TRIGGER replicationtask_sized BEFORE INSERT ON replicationtask
FOR EACH ROW WHEN (NEW.image_size IS NULL OR NEW.large <> (NEW.image_size > 8 * 1024 * 1024))
EXECUTE FUNCTION replicationtask_sized();

DROP INDEX replicationtask_next;
DROP INDEX replicationtask_lane;
