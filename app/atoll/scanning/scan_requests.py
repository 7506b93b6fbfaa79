"""SQL that requests the scan of an image, in the transaction of its push."""

from __future__ import annotations

# Request the scan of the manifest %(digest)s of %(repository_id)s, if %(scans)s. The row of a known
# digest stays as it is, but is locked, so that no removal deletes it before the commit.
REQUEST_SCAN = """
INSERT INTO securityscan (digest) SELECT %(digest)s WHERE %(scans)s
ON CONFLICT (digest) DO UPDATE SET digest = EXCLUDED.digest WHERE false;
INSERT INTO manifestsecurityscan (manifest_id, scan_id)
SELECT m.id, s.id FROM manifest m JOIN securityscan s ON s.digest = m.digest
WHERE m.repository_id = %(repository_id)s AND m.digest = %(digest)s AND %(scans)s
ON CONFLICT (manifest_id) DO NOTHING;
"""
