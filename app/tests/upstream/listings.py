"""Lists of repositories as Quay, Harbor and plain registries send them, of a fault upstream."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from .fault_upstream import Answer, FaultUpstream, Request

TOKEN = "an-oauth-token"


def _query(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def _answer(document: object, link: str | None = None) -> Answer:
    headers = {"Content-Type": "application/json"}
    if link is not None:
        headers["Link"] = f'<{link}>; rel="next"'
    return Answer(json.dumps(document).encode(), headers=headers)


def _refused() -> Answer:
    return Answer(b'{"error": "unauthorized"}', 401)


def quay(upstream: FaultUpstream, request: Request) -> Answer:
    """Answer as Quay: private repositories for TOKEN only, and pages with tokens."""
    query = _query(request)
    if request.headers.get("authorization", "") not in {f"Bearer {TOKEN}", ""}:
        return _refused()
    prefix = f"{query['namespace']}/"
    names = [name for name in sorted(upstream.repositories) if name.startswith(prefix)]
    start = int(query.get("next_page", "0"))
    size = upstream.oddities.page_size
    document: dict[str, object] = {
        "repositories": [
            {
                "namespace": name.partition("/")[0],
                "name": name.partition("/")[2],
                "description": None,
                "is_public": False,
                "kind": "image",
                "state": "NORMAL",
                "is_starred": False,
                "quota_report": None,
            }
            for name in names[start : start + size]
        ]
    }
    if start + size < len(names):
        document["next_page"] = str(start + size)
    return _answer(document)


def harbor(upstream: FaultUpstream, request: Request) -> Answer:
    """Answer as Harbor 2: pages with numbers, and a Link header."""
    if upstream.users and not upstream.is_user(request.headers.get("authorization", "")):
        return _refused()
    path, query = urlsplit(request.path).path, _query(request)
    project = path.removeprefix("/api/v2.0/projects/").removesuffix("/repositories")
    names = [name for name in sorted(upstream.repositories) if name.startswith(f"{project}/")]
    if not names:
        return Answer(b'{"errors":[{"code":"NOT_FOUND","message":"no such project"}]}', 404)
    size = min(int(query["page_size"]), upstream.oddities.page_size)
    start = (int(query["page"]) - 1) * size
    document = [
        {
            "id": number,
            "name": name,
            "project_id": 3,
            "artifact_count": 1,
            "pull_count": 0,
            "creation_time": "2026-01-31T12:00:00.000Z",
            "update_time": "2026-01-31T12:00:00.000Z",
        }
        for number, name in enumerate(names[start : start + size], start)
    ]
    has_next = start + size < len(names)
    following = f"{path}?page={int(query['page']) + 1}&page_size={query['page_size']}"
    return _answer(document, following if has_next else None)


def catalog(upstream: FaultUpstream, request: Request) -> Answer:
    """Answer as the distribution's registry: all repositories, continued by the last name."""
    query = _query(request)
    size = min(int(query["n"]), upstream.oddities.page_size)
    last = query.get("last", "")
    names = [name for name in sorted(upstream.repositories) if name > last]
    following = f"/v2/_catalog?n={size}&last={names[size - 1]}" if len(names) > size else None
    return _answer({"repositories": names[:size]}, following)
