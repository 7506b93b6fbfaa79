"""Absent manifests: an index lists them, and its repository does not have them.

A row of `manifestabsent` exists for each manifest that an accepted index lists and that has no row
in its repository; a manifest with a row, even a deleted one that can be restored, has a row of
`manifestchild` instead. A push of the manifest replaces the one by the other, and the collector of
deleted manifests does the reverse (`placement.upkeep.garbage`).

Locks are acquired in this order, so that no two transactions wait for each other:

1. the advisory locks on tags and digests (`tag_locks`): a push of an index and one of a manifest
   that it lists do not overlap, so one of them sees the rows of the other;
2. the row of the repository, which its deletion locks before all others;
3. the row of the pushed manifest;
4. the rows of all manifests that list it or that it lists, FOR KEY SHARE, ordered by id. A deletion
   of one of them is waited for before any row that the deletion cascades to is changed;
5. rows of `manifestchild`, `manifestabsent` and `tag`.

Collectors lock rows of manifests with SKIP LOCKED, and wait for rows only that depend on them.

The statements are part of the push: they take %(repository_id)s and %(digest)s; %(children)s with
%(child_types)s and %(child_sizes)s for an index; and %(optional_children)s, those that may be
absent.
"""

from __future__ import annotations

# Lock the repository, so that it is not deleted and its state does not change.
LOCK_REPOSITORY = "SELECT FROM repository WHERE id = %(repository_id)s FOR SHARE;"

# Lock the manifests that list the pushed one or that it lists, so that none of them is deleted.
LOCK_RELATED = """
SELECT FROM manifest m WHERE m.id IN (
    SELECT c.id FROM manifest c
    WHERE c.repository_id = %(repository_id)s AND c.digest = ANY(%(children)s::text[])
    UNION ALL
    SELECT a.manifest_id FROM manifestabsent a
    WHERE a.repository_id = %(repository_id)s AND a.digest = %(digest)s)
ORDER BY m.id FOR KEY SHARE OF m;"""

# Record the manifests that an index lists and that its repository does not have.
RECORD_ABSENT = """
INSERT INTO manifestabsent (manifest_id, digest, kind, repository_id, size, media_type)
SELECT m.id, child.digest, 'manifest', m.repository_id, child.size, child.media_type
FROM manifest m, unnest(%(children)s::text[], %(child_types)s::text[], %(child_sizes)s::bigint[])
     AS child (digest, media_type, size)
WHERE m.repository_id = %(repository_id)s AND m.digest = %(digest)s
  AND child.digest = ANY(%(optional_children)s::text[])
  AND NOT EXISTS (SELECT FROM manifest c
                  WHERE c.repository_id = m.repository_id AND c.digest = child.digest)
ON CONFLICT DO NOTHING;"""

# Link the pushed manifest to the indexes that list it.
LINK_ARRIVED = """
WITH arrived AS (
    DELETE FROM manifestabsent
    WHERE repository_id = %(repository_id)s AND digest = %(digest)s AND kind = 'manifest'
    RETURNING manifest_id
)
INSERT INTO manifestchild (manifest_id, child_manifest_id)
SELECT arrived.manifest_id, m.id FROM arrived, manifest m
WHERE m.repository_id = %(repository_id)s AND m.digest = %(digest)s
ON CONFLICT DO NOTHING;"""
