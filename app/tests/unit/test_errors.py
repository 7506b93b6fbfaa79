"""Every error maps to one HTTP response, and internal errors are not disclosed."""

from __future__ import annotations

import falcon
import falcon.testing
import pytest
from atoll.db.pool import DatabaseUnavailable
from atoll.names import InvalidDigest
from atoll.registry import errors as registry
from atoll.storage.errors import NoHealthyStore, ObjectMissing, StoreRefused
from atoll.web import errors
from atoll.web.errors import ERROR_CODES, error_code_of


def answer_to(error: Exception) -> falcon.testing.Result:
    class Resource:
        def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
            del req, resp
            raise error

    app: falcon.App[object, object] = falcon.App()
    app.add_error_handler(Exception, errors.handle)
    app.add_route("/", Resource())
    return falcon.testing.TestClient(app).simulate_get("/")


def test_every_registry_error_has_a_status() -> None:
    for kind in registry.RegistryError.__subclasses__():
        assert kind in ERROR_CODES, kind


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidDigest("x"), 400, "DIGEST_INVALID"),
        (registry.RangeOutOfOrder(10), 416, "BLOB_UPLOAD_INVALID"),
        (registry.ManifestBlobUnknown(["sha256:x"]), 404, "MANIFEST_BLOB_UNKNOWN"),
        (StoreRefused("us", "403"), 503, "UNAVAILABLE"),
        (ObjectMissing("us", "key"), 503, "UNAVAILABLE"),
        (KeyError("bug"), 500, "UNKNOWN"),
    ],
)
def test_an_error_is_mapped_by_its_closest_base_class(
    error: Exception, status: int, code: str
) -> None:
    meaning = error_code_of(error)
    assert (meaning.status, meaning.code) == (status, code)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("host.internal"),
        DatabaseUnavailable("host.internal"),
        NoHealthyStore(["host.internal"]),
    ],
)
def test_details_of_internal_errors_are_not_disclosed(error: Exception) -> None:
    answer = answer_to(error)
    assert "host.internal" not in answer.text
    assert answer.json["errors"][0]["message"]


def test_retry_after_is_sent_for_temporary_errors() -> None:
    assert answer_to(NoHealthyStore([])).headers["Retry-After"] == "5"


@pytest.mark.parametrize("quoted", ["\ud800", "x" * 100_000])
def test_a_message_that_quotes_the_request_is_encodable(quoted: str) -> None:
    answer = answer_to(registry.ManifestInvalid(f"mediaType is '{quoted}'"))
    assert answer.status_code == 400
    assert answer.json["errors"][0]["message"].startswith("mediaType is '")
    assert len(answer.content) < 2000
