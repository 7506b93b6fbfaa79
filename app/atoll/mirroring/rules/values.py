"""Values that the settings of mirrors can have.

The panel and the API of registries without mirrors know them without the models of the settings.
"""

from __future__ import annotations

# The kind of rule_kind: patterns of tags, one of which must match.
TAG_GLOBS = "tag_glob_csv"
ARCHITECTURES = ("amd64", "arm64", "ppc64le", "s390x")
# Seconds. Quay's minimum for skopeo_timeout_interval.
TIMEOUT_MINIMUM = 300
# Seconds, of the mirror of an organization.
ORGANIZATION_TIMEOUT_DEFAULT = 300
ORGANIZATION_TIMEOUT_MINIMUM, ORGANIZATION_TIMEOUT_MAXIMUM = 30, 3600
