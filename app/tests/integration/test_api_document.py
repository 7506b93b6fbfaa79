"""Requests that schemathesis generates from the OpenAPI document: valid and invalid ones.

The number of examples per operation is fixed, and every run uses the same ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import requests
import schemathesis
from atoll.auth.api_tokens import SCOPES, ApiTokens
from hypothesis import strategies
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks as openapi_checks

from .images import push_image_with_layer
from .services import Services
from .site import SUPERUSER, Client, Site, running_site

EXAMPLES = 12
# `positive_data_acceptance` is not among them: a request that the document permits may still name
# an object that does not exist, and Quay answers 400 to that (a robot, a delegate), on which
# scripts rely.
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.unsupported_method,
]


@pytest.fixture
def featured(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    """A site with every feature that a bundle can enable."""
    changes = {
        "FEATURE_IMAGE_PULL_STATS": True,
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": "https://clair.example",
        "FEATURE_SUPERUSER_CONFIGDUMP": True,
        "FEATURE_USER_INITIALIZE": True,
    }
    with running_site(services, database, tmp_path / "featured", "usstorage", changes) as site:
        yield site


class KnownObjects:
    """Existing objects, so that operations get further than to "not found"."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._tokens = ApiTokens(site.services.database)
        digest = push_image_with_layer(Client(site), "admin/app", "v1", b"x")
        self.parameters = {
            "repository": "admin/app",
            "digest": digest,
            "tag": "v1",
            "orgname": "acme",
            "teamname": "makers",
            "membername": "alice",
            "username": "alice",
            "delegate": "alice",
            "robot_shortname": "ci",
        }

    def headers(self) -> dict[str, str]:
        """Recreate what earlier operations may have deleted, and return a new superuser's token.

        A change of the superuser's own password revokes all older tokens.
        """
        token = self._tokens.create(SUPERUSER, list(SCOPES), 3600)
        headers = {"Authorization": f"Bearer {token}"}
        for method, path, body in (
            ("POST", "superuser/users/", {"username": "alice"}),
            ("POST", "organization/", {"name": "acme"}),
            ("PUT", "organization/acme/team/makers", {"role": "creator"}),
            ("PUT", "organization/acme/team/makers/members/alice", None),
            ("PUT", "organization/acme/robots/ci", {}),
            ("POST", "repository", {"repository": "app", "visibility": "public"}),
        ):
            answer = requests.request(
                method, f"{self._site.url}/api/v1/{path}", json=body, headers=headers
            )
            assert answer.status_code in {200, 201, 400}, answer.text
        self._delete_notifications(headers)
        hook = {"event": "repo_push", "method": "webhook", "config": {"url": "https://example.com"}}
        for name, path, body in (
            ("client_id", "organization/acme/applications", {"name": "deploy"}),
            ("uuid", "repository/admin/app/notification/", hook),
        ):
            made = requests.post(f"{self._site.url}/api/v1/{path}", json=body, headers=headers)
            assert made.ok, made.text
            self.parameters[name] = made.json()[name]
        return headers

    def _delete_notifications(self, headers: dict[str, str]) -> None:
        """Delete the notifications of earlier examples; their number per repository is limited."""
        url = f"{self._site.url}/api/v1/repository/admin/app/notification/"
        for one in requests.get(url, headers=headers).json()["notifications"]:
            deleted = requests.delete(f"{url}{one['uuid']}", headers=headers)
            assert deleted.status_code == 204, deleted.text


def find_violations(site: Site, known: KnownObjects, *, logged_in: bool) -> list[str]:
    """Send a number of requests of each kind to each operation, and return the violations."""
    violations: list[str] = []
    statuses: Counter[int] = Counter()
    schema = schemathesis.openapi.from_url(f"{site.url}/api/v1/openapi.json")
    with requests.Session() as session:
        session.trust_env = False
        session.hooks["response"].append(
            lambda answer, **_: statuses.update([answer.status_code // 100])
        )
        for result in schema.get_all_operations():
            operation = result.ok()
            session.headers = known.headers() if logged_in else {}
            for mode in GenerationMode:
                try:
                    send_examples(operation, mode, known, session)
                except hypothesis.errors.Unsatisfiable:
                    # An operation without parameters has no invalid requests.
                    assert mode is GenerationMode.NEGATIVE
                except (Exception, FailureGroup) as error:
                    violations.append(f"{operation.label} ({mode.value}): {error}")
    # If everything is refused, nothing has been tested.
    assert statuses[2] > (EXAMPLES if logged_in else 0), statuses
    return violations


def send_examples(
    operation: schemathesis.schemas.APIOperation,
    mode: GenerationMode,
    known: KnownObjects,
    session: requests.Session,
) -> None:
    """Send valid or invalid requests, depending on the mode, and check the responses."""

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode), strategies.booleans())
    def send(case: schemathesis.Case, named: bool) -> None:
        given = case.path_parameters or {}
        if named and mode is GenerationMode.POSITIVE:
            there = {name: text for name, text in known.parameters.items() if name in given}
            case.path_parameters = {**given, **there}
        case.call_and_validate(checks=CHECKS, session=session)

    send()


@pytest.mark.long
@pytest.mark.parametrize("logged_in", [True, False], ids=["superuser", "anonymous"])
def test_every_response_conforms_to_the_document_and_none_is_a_server_error(
    featured: Site, logged_in: bool
) -> None:
    known = KnownObjects(featured)
    violations = find_violations(featured, known, logged_in=logged_in)
    assert not violations, "\n\n".join(violations)
