"""Sites whose bundle has no secret share one through the database."""

from __future__ import annotations

from pathlib import Path

from atoll.auth.signing import with_shared_secret
from atoll.auth.tokens import signing_key

from .services import Services
from .site import Client, Site, running_site

NO_SECRETS = {"SECRET_KEY": None, "DATABASE_SECRET_KEY": None}


def test_a_token_and_an_upload_of_one_site_are_valid_at_the_other(
    services: Services, database: str, tmp_path: Path
) -> None:
    changes: dict[str, object] = {**NO_SECRETS}
    with (
        running_site(services, database, tmp_path / "us", "usstorage eustorage", changes) as us,
        running_site(services, database, tmp_path / "eu", "eustorage usstorage", changes) as eu,
    ):
        _push_across_sites(us, eu)


def _push_across_sites(us: Site, eu: Site) -> None:
    here, there = Client(us), Client(eu)
    scope = "repository:admin/app:pull,push"
    there.tokens[scope] = here.token(scope)
    answer = here.request("POST", "/v2/admin/app/blobs/uploads/", scope)
    path = answer.headers["Location"].removeprefix(us.url)
    answer = there.request("PATCH", path, scope, data=b"half")
    assert answer.status_code == 202, answer.text
    upload = answer.headers["Location"].removeprefix(eu.url)
    assert here.request("DELETE", upload, scope).status_code == 204


def test_the_shared_secret_is_created_once(us: Site) -> None:
    first = us.services.database.read("SELECT secret FROM signingsecret")
    assert us.command("migrate").returncode == 0
    again = us.services.database.read("SELECT secret FROM signingsecret")
    assert bytes(first[0][0]) == bytes(again[0][0])
    assert len(bytes(first[0][0])) == 32


def test_the_secret_of_the_bundle_takes_precedence(us: Site) -> None:
    assert with_shared_secret(us.services.bundle, us.services.database) is us.services.bundle
    bare = us.services.bundle.model_copy(update={"secret_key": None})
    shared = with_shared_secret(bare, us.services.database)
    assert signing_key(shared, "x") != signing_key(us.services.bundle, "x")
    assert signing_key(shared, "x") == signing_key(
        with_shared_secret(bare, us.services.database), "x"
    )
