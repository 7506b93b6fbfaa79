"""Documentation that the modules of mirrors share."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of the mirrors of repositories and of organizations."""

    DOCUMENTATION = r"""
options:
  external_registry_username:
    description:
      - User name at the other registry. By default, a new mirror pulls anonymously. For the API of
        Quay, it is V($oauthtoken), and the password an OAuth token.
    type: str
  external_registry_password:
    description:
      - Password of O(external_registry_username). The registry does not return it; see
        O(update_password).
    type: str
  update_password:
    description:
      - V(on_create) sends the password if the mirror is new, or if its user name, its upstream or a
        proxy changes, and passwords of proxies if their URLs differ in something else. V(always)
        sends all passwords in each run, which always reports a change.
    type: str
    choices: [always, on_create]
    default: on_create
  robot:
    description:
      - Name of the robot that owns the mirrored tags, with or without the namespace. Required for a
        new mirror.
    type: str
  tags:
    description:
      - Patterns of a Unix shell, one of which a tag must match. A new mirror selects all tags by
        default.
    type: list
    elements: str
  exclude:
    description: Patterns of tags to leave out.
    type: list
    elements: str
  semver:
    description: Ranges of versions, such as V(>=1.2 <2), one of which a tag must be in.
    type: list
    elements: str
  newest:
    description: Number of newest tags of a repository to select.
    type: int
  newest_by:
    description: Order of tags for O(newest).
    type: str
    choices: [semver, created, name]
  max_age:
    description: Maximum age of images in seconds.
    type: int
  architectures:
    description:
      - Architectures of images to copy; an empty list selects all. The registry must have
        C(FEATURE_SPARSE_INDEX).
    type: list
    elements: str
    choices: [amd64, arm64, ppc64le, s390x]
  referrers:
    description:
      - Signatures and other referrers to copy, V(all), V(none), or a list of artifact types. A new
        mirror copies all by default.
    type: list
    elements: str
  sync_start_date:
    description: The first run, as V(2026-01-31T22:00:00Z). By default, a new mirror runs at once.
    type: str
  hours:
    description: Time of day, in UTC, within which runs begin, such as V(22:00-06:00).
    type: str
  enabled:
    description: Whether runs start on schedule. A new mirror is enabled by default.
    type: bool
  verify_tls:
    description: Whether the certificate of the other registry is verified. The default is V(true).
    type: bool
  ca_certificate:
    description: Further CA certificates for the other registry, in PEM format.
    type: str
  http_proxy:
    description:
      - Proxy for requests without TLS. By default, those of the container are used. The registry
        does not return a password in the URL; see O(update_password).
    type: str
  https_proxy:
    description: Proxy for requests with TLS, as O(http_proxy).
    type: str
  no_proxy:
    description: Hosts that are reached without a proxy, separated by commas.
    type: str
  rollback:
    description: Whether all tags of a repository change together or not at all.
    type: bool
  delete_after:
    description: Seconds after which a tag that the other registry no longer has is deleted.
    type: int
  delete_limit:
    description:
      - The largest share of the tags of a repository, V(0) to V(1), that a run deletes unconfirmed.
    type: float
  immutable_tags:
    description: Patterns of tags that never change once they were copied.
    type: list
    elements: str
  state:
    description: V(absent) keeps all tags; pushes are then accepted again.
    type: str
    choices: [present, absent]
    default: present
"""
