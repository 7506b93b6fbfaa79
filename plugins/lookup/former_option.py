"""Lookup of a playbook's option by the name that it had in the previous version."""

from __future__ import annotations

DOCUMENTATION = r"""
name: former_option
short_description: Read an option of a playbook by its former name
description:
  - Returns the value of an extra variable (C(-e)), with a deprecation warning, or a default.
    Variables of the inventory with the same name are ignored.
  - The playbooks of this collection accept the former names of their options with it.
version_added: 0.1.0
options:
  _terms:
    description: Former name of the option.
    type: list
    elements: str
    required: true
  option:
    description: Name of the option, for the warning.
    type: str
    required: true
  default:
    description: The result without such an extra variable.
    type: raw
    default: ''
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Show the site that was set with -e site=NAME
  ansible.builtin.debug:
    msg: "{{ lookup('atoll.registry.former_option', 'site', option='atoll_site') }}"
"""

RETURN = r"""
_raw:
  description: The value of the extra variable, or the default.
  type: list
  elements: raw
"""

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

display = Display()


class LookupModule(LookupBase):
    """Read extra variables, and no others."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """Return the value of the first of the former names that is set."""
        self.set_options(var_options=variables, direct=kwargs)
        given = load_extra_vars(self._loader)
        for name in terms:
            if name in given:
                display.deprecated(
                    f"The option {name} has been renamed to {self.get_option('option')}.",
                    version="0.2.0",
                    collection_name="atoll.registry",
                )
                return [given[name]]
        return [self.get_option("default")]
