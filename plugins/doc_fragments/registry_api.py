"""Documentation that all modules of the registry's API share."""

from __future__ import annotations


class ModuleDocFragment:
    """Options for the address and the login."""

    DOCUMENTATION = r"""
options:
  registry_url:
    description:
      - URL of the registry, as clients use it. If the value is not specified, the value of the
        environment variable E(ATOLL_URL) is used.
    type: str
    required: true
  username:
    description:
      - User to log in as, with O(password). Mutually exclusive with O(token), and takes precedence
        over E(ATOLL_TOKEN).
    type: str
  password:
    description: Password of O(username).
    type: str
  token:
    description:
      - API token, as issued to an OAuth application or by C(user/initialize). If neither it nor
        O(username) is specified, the value of the environment variable E(ATOLL_TOKEN) is used.
    type: str
  ca_path:
    description:
      - File of CA certificates to verify the registry's certificate with. By default, the CA
        certificates of the system are used. If the value is not specified, the value of the
        environment variable E(ATOLL_CA_PATH) is used.
    type: path
  validate_certs:
    description:
      - Whether to verify the registry's certificate. If the value is not specified, the value of
        the environment variable E(ATOLL_VALIDATE_CERTS) is used.
    type: bool
    default: true
  timeout:
    description: Seconds after which a request without a response fails.
    type: int
    default: 30
notes:
  - Environment variables are read on the host that runs the module, usually the controller.
attributes:
  action_group:
    description: Use C(group/atoll.registry.api) in C(module_defaults).
    support: full
    membership:
      - atoll.registry.api
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
  diff_mode:
    description: Returns what was changed, or would be changed in check mode.
    support: full
author:
  - The Atoll authors (@atoll)
"""
