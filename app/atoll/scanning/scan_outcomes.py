"""SQL that stores the outcome of a scan, or requests another one.

An image that was scanned keeps its state, report and counts if a later index of it fails.
"""

from __future__ import annotations

from atoll.db.leased_queue import unleased
from atoll.scanning.scan_candidates import SCANS
from atoll.scanning.scan_states import ScanState

_END = "lease_token = NULL, lease_expires = NULL, last_indexed = clock_timestamp()"

SCANNED = f"""
UPDATE securityscan SET {_END}, index_status = {ScanState.COMPLETED}, failures = 0,
    indexer_hash = %(indexer_state)s, attempted_hash = %(indexer_state)s,
    severity_counts = coalesce(%(counts)s::jsonb, severity_counts), last_error = NULL,
    attempts = 0, available_at = 'infinity'
WHERE {SCANS.is_held} RETURNING id
"""

# The number of failures with this state of the indexer, including this one.
_FAILURES = "(CASE WHEN attempted_hash = %(indexer_state)s THEN failures ELSE 0 END + 1)"

RETRY = f"""
UPDATE securityscan SET {_END}, last_error = %(error)s, attempted_hash = %(indexer_state)s,
    failures = {_FAILURES},
    index_status = CASE WHEN index_status = {ScanState.COMPLETED} THEN index_status
                        WHEN {_FAILURES} > %(retries)s THEN {ScanState.RETRIES_EXHAUSTED}
                        ELSE {ScanState.FAILED} END,
    available_at = CASE WHEN {_FAILURES} > %(retries)s THEN 'infinity'
                        ELSE clock_timestamp() + make_interval(secs => CASE
                            WHEN index_status = {ScanState.COMPLETED}
                            THEN greatest(%(threshold)s, %(wait)s) ELSE %(wait)s END) END
WHERE {SCANS.is_held} RETURNING id
"""

NOT_SCANNED = f"""
UPDATE securityscan SET {_END}, last_error = %(error)s, index_status = %(state)s, attempts = 0,
    failures = 0, available_at = 'infinity'
WHERE {SCANS.is_held} RETURNING id
"""

# The image was not attempted, because one of its layers cannot be read.
DEFER = f"""
UPDATE securityscan SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1,
    last_error = %(error)s, available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE {SCANS.is_held} RETURNING id
"""

# The counts change with the vulnerability data of the scanner, without another index.
RECOUNT = """
UPDATE securityscan SET severity_counts = %(counts)s::jsonb
WHERE digest = %(digest)s AND severity_counts IS DISTINCT FROM %(counts)s::jsonb
"""

# A worker that holds the image finishes first; its outcome does not end this request.
REQUEST_AGAIN = f"""
UPDATE securityscan SET failures = 0, attempted_hash = '', last_error = NULL, is_backfill = false,
    index_status = CASE WHEN index_status = {ScanState.COMPLETED} THEN index_status
                        ELSE {ScanState.PENDING} END,
    available_at = clock_timestamp()
WHERE digest = ANY(%(digests)s) AND {unleased("securityscan")} RETURNING digest
"""
