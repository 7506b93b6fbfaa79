"""Speak to the registry's API, and bring what it keeps to a wanted state."""

from __future__ import annotations

import json
from urllib.error import HTTPError
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.urls import open_url

ARGUMENTS = {
    "registry_url": {"type": "str", "required": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 30},
}
# What a path below /api/v1 says of what is not there.
_NOT_FOUND = 404
_REFUSED = 400
_NOT_AUTHORIZED = (401, 403)


class ApiError(Exception):
    """The registry did not do what it was asked to; the message says why, and what to do."""


def registry_module(arguments, one_of=None):
    """Return the module with ARGUMENTS, exactly ONE_OF which is given, and the login's."""
    alternatives = [("token", "username"), *([one_of] if one_of else [])]
    return AnsibleModule(
        argument_spec={**ARGUMENTS, **arguments},
        required_one_of=alternatives,
        mutually_exclusive=alternatives,
        required_together=[("username", "password")],
        supports_check_mode=True,
    )


class Refused(ApiError):
    """The registry does not let this login do it, or knows of nothing that it may be told of."""


class RegistryApi:
    """The API below /api/v1, as one user."""

    def __init__(self, params):
        self._address = params["registry_url"].rstrip("/")
        self._login = {}
        self._headers = {"Accept": "application/json"}
        if params["token"]:
            self._headers["Authorization"] = f"Bearer {params['token']}"
        else:
            self._login = {
                "url_username": params["username"],
                "url_password": params["password"],
                "force_basic_auth": True,
            }
        self._options = {
            "ca_path": params["ca_path"],
            "validate_certs": params["validate_certs"],
            "timeout": params["timeout"],
        }

    def get(self, *path, query=None):
        """Return what is at PATH as data, or None if there is nothing. Raises ApiError."""
        status, answer = self._ask("GET", path, None, query or {})
        return None if status == _NOT_FOUND else answer

    def send(self, method, *path, body=None, query=None):
        """Return what METHOD at PATH is answered with. Raises ApiError, also for nothing there."""
        status, answer = self._ask(method, path, body, query or {})
        if status == _NOT_FOUND:
            raise ApiError(_said(answer))
        return answer

    def get_of_repository(self, name, *path, query=None):
        """Return what is at PATH below the repository NAME, or None. Raises ApiError."""
        try:
            return self.get("repository", name, *path, query=query)
        except Refused:
            # Of a namespace that is not there either, nobody is told that.
            if self.get("organization", name.partition("/")[0]) is not None:
                raise
            return None

    def lets_in(self, username, password):
        """Tell whether USERNAME and PASSWORD are let in. Raises ApiError."""
        login = {"url_username": username, "url_password": password, "force_basic_auth": True}
        try:
            return (
                self._open("GET", self._url(("user",), {}), None, login)[0] not in _NOT_AUTHORIZED
            )
        except OSError as error:
            raise self._unreachable(error) from error

    def _ask(self, method, path, body, query):
        url = self._url(path, query)
        try:
            status, text = self._open(method, url, body, self._login)
        except OSError as error:
            raise self._unreachable(error) from error
        answer = self._data(url, status, text)
        if status in _NOT_AUTHORIZED:
            who = self._login.get("url_username") or "the token"
            raise Refused(
                f"{self._address} does not let {who} {method} {url[len(self._address) :]}: "
                f"{_said(answer)}. Is the password or the token right, and may it do this?"
            )
        if status >= _REFUSED and status != _NOT_FOUND:
            raise ApiError(f"{method} {url} was answered with {status}: {_said(answer)}")
        return status, answer

    def _open(self, method, url, body, login):
        """Return status and text of an answer. Raises OSError where there is none."""
        headers = dict(self._headers)
        if login:
            headers.pop("Authorization", None)
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body)
        try:
            answer = open_url(
                url, method=method, data=data, headers=headers, **login, **self._options
            )
        except HTTPError as error:
            answer = error
        return answer.status, answer.read()

    def _url(self, path, query):
        # Names of robots have a plus, those of repositories slashes.
        segments = "/".join(quote(segment, safe="/") for segment in path)
        asked = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        return f"{self._address}/api/v1/{segments}" + (f"?{asked}" if asked else "")

    def _data(self, url, status, text):
        if not text:
            return {}
        try:
            return json.loads(text)
        except ValueError as error:
            raise ApiError(
                f"{url} was answered with {status} and something that is no JSON. Is registry_url "
                "the address of the registry itself?"
            ) from error

    def _unreachable(self, error):
        reason = to_native(getattr(error, "reason", None) or error)
        return ApiError(
            f"{self._address} cannot be reached: {reason}. Look at registry_url and, for a "
            "certificate that is not known, at ca_path."
        )


class Entity:
    """One thing of the registry that a module looks after. STATE of the params: present, absent."""

    def __init__(self, api, params):
        self.api = api
        self.params = params

    def look(self):
        """Return what there is, as data, or None."""
        raise NotImplementedError

    def wanted(self):
        """Return those of the keys of `look` that are to be as given."""
        raise NotImplementedError

    def create(self):
        """Make it."""
        raise NotImplementedError

    def change(self, differing):
        """Change the keys DIFFERING to what they say."""
        raise NotImplementedError

    def remove(self):
        """Remove it."""
        raise NotImplementedError


def converge(entity, state, *, check_mode):
    """Bring ENTITY to its STATE; return what it was before and is after, None for absent."""
    before = entity.look()
    if state == "absent":
        if before is not None and not check_mode:
            entity.remove()
        return before, None
    wanted = {key: value for key, value in entity.wanted().items() if value is not None}
    if before is None:
        if check_mode:
            return None, wanted
        entity.create()
        return None, _settled(entity, wanted)
    if not _differing(before, wanted):
        return before, before
    if check_mode:
        return before, {**before, **wanted}
    return before, _settled(entity, wanted)


def _settled(entity, wanted):
    """Change what is not as wanted yet, and return what there is then. Raises ApiError."""
    there = entity.look()
    differing = _differing(there or {}, wanted)
    if differing:
        entity.change(differing)
        there = entity.look()
    if there is None or _differing(there, wanted):
        raise ApiError(f"the registry took the change, and yet shows {there}")
    return there


def _differing(there, wanted):
    return {key: value for key, value in wanted.items() if there.get(key) != value}


def run(module, name, kind, **answer):
    """Do what a module of one KIND of entity does, and answer under NAME."""
    state = module.params["state"]
    try:
        entity = kind(RegistryApi(module.params), module.params)
        before, after = converge(entity, state, check_mode=module.check_mode)
        more = getattr(entity, "more", dict)()
    except ApiError as error:
        module.fail_json(msg=str(error))
    if after is not None:
        answer[name] = after
    module.exit_json(
        changed=before != after,
        diff={"before": before or {}, "after": after or {}},
        **answer,
        **more,
    )


def tell(module, name, look):
    """Do what an info module does: answer under NAME with what LOOK finds with the API."""
    try:
        found = look(RegistryApi(module.params), module.params)
    except ApiError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **{name: found})


def _said(answer):
    if isinstance(answer, dict):
        return answer.get("error_message") or answer.get("detail") or "it said nothing"
    return str(answer)
