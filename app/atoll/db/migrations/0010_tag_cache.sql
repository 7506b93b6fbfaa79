-- Notifications that invalidate the tags in the memory of processes (FEATURE_TAG_CACHE).

-- Processes that keep tags in memory. Each renews its row, and keeps nothing once the row is older
-- than a few minutes by its own clock.
CREATE TABLE taglistener (
    id      uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The rows that count. A process whose row does not count any more, because the clock of the server
-- was changed or the row was deleted, notices that here.
CREATE VIEW currenttaglistener AS
SELECT id FROM taglistener WHERE seen_at > clock_timestamp() - interval '15 minutes';

-- Whether a change must be notified. NOTIFY makes commits wait for each other, so it is left out
-- while no process listens. A process waits, after it wrote its row, for all transactions that may
-- have called this before; snapshots that last longer than a statement might still lack the row.
CREATE FUNCTION tags_are_cached() RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT current_setting('transaction_isolation') <> 'read committed'
        OR EXISTS (SELECT FROM currenttaglistener)
$$;

-- Notify the ids of repositories, or "*" instead of very many.
CREATE FUNCTION notify_changed_tags(repositories bigint[]) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('atoll_tags', payload)
    FROM unnest(CASE WHEN cardinality(repositories) > 100 THEN ARRAY['*']
                     ELSE repositories::text[] END) AS payload
$$;

-- A row of a tag's history that is not the current one says nothing about the tag. New rows need no
-- notification: that a tag does not exist is never kept.
CREATE FUNCTION tag_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tags_are_cached() THEN
        PERFORM notify_changed_tags(array(
            SELECT DISTINCT repository_id FROM changed WHERE lifetime_end_ms IS NULL));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER tag_updated AFTER UPDATE ON tag REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION tag_changed();
CREATE TRIGGER tag_deleted AFTER DELETE ON tag REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION tag_changed();

-- The content of a manifest never changes, but it can be deleted.
CREATE FUNCTION manifest_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tags_are_cached() THEN
        PERFORM notify_changed_tags(ARRAY[OLD.repository_id]);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER manifest_updated AFTER UPDATE ON manifest
FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
EXECUTE FUNCTION manifest_changed();
CREATE TRIGGER manifest_deleted AFTER DELETE ON manifest
FOR EACH ROW WHEN (OLD.deleted_at IS NULL)
EXECUTE FUNCTION manifest_changed();

-- Names of repositories and namespaces, and disabled namespaces, change rarely.
CREATE FUNCTION all_tags_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tags_are_cached() THEN
        PERFORM pg_notify('atoll_tags', '*');
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER repository_renamed AFTER UPDATE ON repository
FOR EACH ROW WHEN ((OLD.id, OLD.namespace_user_id, OLD.name)
                   IS DISTINCT FROM (NEW.id, NEW.namespace_user_id, NEW.name))
EXECUTE FUNCTION all_tags_changed();
CREATE TRIGGER repository_deleted AFTER DELETE ON repository
FOR EACH STATEMENT EXECUTE FUNCTION all_tags_changed();
CREATE TRIGGER namespace_changed AFTER UPDATE ON "user"
FOR EACH ROW WHEN ((OLD.id, OLD.username, OLD.enabled)
                   IS DISTINCT FROM (NEW.id, NEW.username, NEW.enabled))
EXECUTE FUNCTION all_tags_changed();
CREATE TRIGGER namespace_deleted AFTER DELETE ON "user"
FOR EACH STATEMENT EXECUTE FUNCTION all_tags_changed();
-- A truncation of manifests, repositories or accounts includes the tags.
CREATE TRIGGER tag_truncated AFTER TRUNCATE ON tag
FOR EACH STATEMENT EXECUTE FUNCTION all_tags_changed();
