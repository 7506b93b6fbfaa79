"""URI templates of the distribution API.

Where two templates match a path, the first one added to the router has precedence: a path that
ends in `/blobs/uploads` is not the blob `uploads`.
"""

from __future__ import annotations

ROOT = "/v2/"
CATALOG = "/v2/_catalog"
AUTH = "/v2/auth"
TAGS = "/v2/{name}/tags/list"
REFERRERS = "/v2/{name}/referrers/{digest}"
UPLOADS = "/v2/{name}/blobs/uploads/"
UPLOAD = "/v2/{name}/blobs/uploads/{uuid}"
BLOB = "/v2/{name}/blobs/{digest}"
MANIFEST = "/v2/{name}/manifests/{reference}"

# Clients send these with and without the trailing slash.
OPTIONAL_SLASH = frozenset({ROOT, UPLOADS})
