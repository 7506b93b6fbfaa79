"""Call the registry's API, and bring its entities to a desired state."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.urls import open_url

ARGUMENTS: dict[str, dict[str, Any]] = {
    "registry_url": {"type": "str", "required": True, "fallback": (env_fallback, ["ATOLL_URL"])},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    "ca_path": {"type": "path", "fallback": (env_fallback, ["ATOLL_CA_PATH"])},
    "validate_certs": {
        "type": "bool",
        "default": True,
        "fallback": (env_fallback, ["ATOLL_VALIDATE_CERTS"]),
    },
    "timeout": {"type": "int", "default": 30},
}
_NOT_FOUND = 404
_FIRST_ERROR = 400
_NOT_AUTHORIZED = (401, 403)


class ApiError(Exception):
    """A request failed; the message names the cause and the remedy."""


def registry_module(
    arguments: Mapping[str, Any], one_of: tuple[str, str] | None = None
) -> AnsibleModule:
    """Return a module with options of its own and the options of the login.

    Args:
        arguments: The module's own options.
        one_of: Two options, exactly one of which is required.
    """
    alternatives = [one_of] if one_of else []
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, **arguments},
        required_one_of=alternatives,
        mutually_exclusive=[("token", "username"), *alternatives],
        required_together=[("username", "password")],
        supports_check_mode=True,
    )
    _set_login(module)
    return module


def _set_login(module: AnsibleModule) -> None:
    """Read the token from the environment, unless there is another login.

    A fallback of the option would conflict with a user name.
    """
    params = module.params
    if params["token"] or params["username"]:
        return
    params["token"] = os.environ.get("ATOLL_TOKEN")
    if not params["token"]:
        module.fail_json(
            msg="there is no login: set token, username, or ATOLL_TOKEN in the environment"
        )
    module.no_log_values.add(params["token"])


class Refused(ApiError):
    """The login has no permission, or the object does not exist and the response hides that."""


class RegistryApi:
    """The API below /api/v1, used with one login."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._address = params["registry_url"].rstrip("/")
        self._login: dict[str, Any] = {}
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

    def get(self, *path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return the object at a path, or None if it does not exist. Raises ApiError."""
        status, answer = self._ask("GET", path, None, query or {})
        return None if status == _NOT_FOUND else answer

    def send(
        self,
        method: str,
        *path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the response to a request. Raises ApiError, also if the object does not exist."""
        status, answer = self._ask(method, path, body, query or {})
        if status == _NOT_FOUND:
            raise ApiError(_error_of(answer))
        return answer

    def get_of_repository(
        self, name: str, *path: str, query: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the object at a path below a repository, or None. Raises ApiError."""
        try:
            return self.get("repository", name, *path, query=query)
        except Refused:
            # The response is the same if the namespace does not exist.
            if self.get("organization", name.partition("/")[0]) is not None:
                raise
            return None

    def accepts_login(self, username: str, password: str) -> bool:
        """Return whether the registry accepts a user name and a password. Raises ApiError."""
        login = {"url_username": username, "url_password": password, "force_basic_auth": True}
        try:
            return (
                self._open("GET", self._url(("user",), {}), None, login)[0] not in _NOT_AUTHORIZED
            )
        except OSError as error:
            raise self._unreachable(error) from error

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        body: Mapping[str, Any] | None,
        query: Mapping[str, Any],
    ) -> tuple[int, Any]:
        url = self._url(path, query)
        try:
            status, text = self._open(method, url, body, self._login)
        except OSError as error:
            raise self._unreachable(error) from error
        answer = self._data(url, status, text)
        if status in _NOT_AUTHORIZED:
            login = self._login.get("url_username") or "the token"
            raise Refused(
                f"{self._address} refuses {login} {method} {url[len(self._address) :]}: "
                f"{_error_of(answer)}. Check the password or the token, and its permissions."
            )
        if status >= _FIRST_ERROR and status != _NOT_FOUND:
            raise ApiError(f"{method} {url} failed with status {status}: {_error_of(answer)}")
        return status, answer

    def _open(
        self, method: str, url: str, body: Mapping[str, Any] | None, login: Mapping[str, Any]
    ) -> tuple[int, bytes]:
        """Return the status and the text of a response. Raises OSError if there is none."""
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

    def _url(self, path: tuple[str, ...], query: Mapping[str, Any]) -> str:
        # Names of robots contain a plus sign, those of repositories slashes.
        segments = "/".join(quote(segment, safe="/") for segment in path)
        parameters = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        return f"{self._address}/api/v1/{segments}" + (f"?{parameters}" if parameters else "")

    def _data(self, url: str, status: int, text: bytes) -> Any:
        if not text:
            return {}
        try:
            return json.loads(text)
        except ValueError as error:
            raise ApiError(
                f"{url} responded with status {status} and without JSON. Check that registry_url "
                "is the address of the registry itself."
            ) from error

    def _unreachable(self, error: OSError) -> ApiError:
        reason = to_native(getattr(error, "reason", None) or error)
        return ApiError(
            f"{self._address} cannot be reached: {reason}. Check registry_url and, if the "
            "certificate is not trusted, ca_path."
        )


class Entity:
    """An entity of the registry that a module manages."""

    def __init__(self, api: RegistryApi, params: Mapping[str, Any]) -> None:
        self.api = api
        self.params = params

    def read(self) -> dict[str, Any] | None:
        """Return the current state, or None if the entity does not exist."""
        raise NotImplementedError

    def wanted(self) -> dict[str, Any]:
        """Return the desired values of keys of the state; None for any value."""
        raise NotImplementedError

    def create(self) -> None:
        """Create the entity."""
        raise NotImplementedError

    def change(self, differing: dict[str, Any]) -> None:
        """Change the given keys of the state to the given values."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove the entity."""
        raise NotImplementedError

    def more(self) -> dict[str, Any]:
        """Return further return values of the module."""
        return {}


def converge(
    entity: Entity, state: str, *, check_mode: bool
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Bring an entity to a state, `present` or `absent`.

    Returns:
        The state of the entity before and after; None if it does not exist.

    Raises:
        ApiError: A request failed, or the registry did not apply a change.
    """
    before = entity.read()
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


def _settled(entity: Entity, wanted: dict[str, Any]) -> dict[str, Any]:
    """Change the keys that differ, and return the resulting state. Raises ApiError."""
    current = entity.read()
    differing = _differing(current or {}, wanted)
    if differing:
        entity.change(differing)
        current = entity.read()
    if current is None or _differing(current, wanted):
        raise ApiError(f"the registry accepted the change, but the state is {current}")
    return current


def _differing(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in wanted.items() if current.get(key) != value}


def run(module: AnsibleModule, name: str, kind: type[Entity], **answer: Any) -> None:
    """Run a module that manages one entity.

    Args:
        module: The module, with the option `state`.
        name: Name of the return value that holds the state of the entity.
        kind: The class of the entity.
        answer: Further return values.
    """
    state = module.params["state"]
    try:
        entity = kind(RegistryApi(module.params), module.params)
        before, after = converge(entity, state, check_mode=module.check_mode)
        more = entity.more()
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


def run_info(
    module: AnsibleModule, name: str, read: Callable[[RegistryApi, Mapping[str, Any]], Any]
) -> None:
    """Run an info module.

    Args:
        module: The module.
        name: Name of the return value.
        read: Returns that value, given the API and the module's options.
    """
    try:
        found = read(RegistryApi(module.params), module.params)
    except ApiError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **{name: found})


def _error_of(answer: Any) -> str:
    if isinstance(answer, dict):
        message: str = answer.get("error_message") or answer.get("detail") or "no error message"
        return message
    return str(answer)
