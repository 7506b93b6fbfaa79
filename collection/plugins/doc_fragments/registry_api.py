"""What every module says that speaks to the registry's API."""

from __future__ import annotations


class ModuleDocFragment:
    """Options for the address and the login."""

    DOCUMENTATION = r"""
options:
  registry_url:
    description: Address of the registry, as clients use it.
    type: str
    required: true
  username:
    description: Name of a user of the registry. Use either a user's name and password or O(token).
    type: str
  password:
    description: Password of O(username).
    type: str
  token:
    description: A token of the API, as an OAuth application or C(user/initialize) gives one.
    type: str
  ca_path:
    description:
      - File of the certificates that the registry's own is checked against, if the system's are not
        enough.
    type: path
  validate_certs:
    description: Whether to check the registry's certificate.
    type: bool
    default: true
  timeout:
    description: Seconds after which a request without an answer fails.
    type: int
    default: 30
attributes:
  check_mode:
    description: Tells what it would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows what is changed.
    support: full
author:
  - The Atoll authors (@atoll)
"""
