"""What clients and workers do with a generated registry, one operation at a time."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from atoll.names import Digest, RepositoryName
from atoll.placement.claims import Claims
from atoll.placement.delete_queue import DeleteQueue
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.garbage import Collector
from atoll.registry.upload_session import Body
from atoll.web.app import create_app
from falcon import testing

from .large_registry import NAMESPACE, Size, blob_digest, manifest_digest, tag_name
from .security_scans import INDEXER, scans_of
from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest

# A repository of the usual size, and the one with a hundredth of all tags.
USUAL, LARGEST = RepositoryName(NAMESPACE, "app8"), RepositoryName(NAMESPACE, "app1")
_USUAL_NUMBER = 7
_PAGE = 100

_PERMIT = """
INSERT INTO repositorypermission (repository_id, user_id, role)
SELECT r.id, u.id, 'admin' FROM repository r, "user" u
WHERE r.name = ANY(%(names)s) AND u.username = %(username)s
"""
_IDS = "SELECT name, id FROM repository WHERE name = ANY(%(names)s)"
_FORGET = "DELETE FROM repositorypermission"


class Operations:
    """Operations on a registry of `large_registry`; each call uses other tags and blobs."""

    def __init__(self, site: MemorySite, size: Size) -> None:
        site.graph.batch_database.run(
            _FORGET + ";" + _PERMIT,
            {"names": [USUAL.name, LARGEST.name], "username": SUPERUSER},
        )
        self._site, self._size = site, size
        # Names are bound to ids, as those of a request with a token are.
        ids = dict(site.graph.batch_database.read(_IDS, {"names": [USUAL.name, LARGEST.name]}))
        self._usual_name, self._largest_name = (
            name.bound(ids[name.name]) for name in (USUAL, LARGEST)
        )
        self._client = testing.TestClient(create_app(site.graph.dependencies()))
        self._numbers = itertools.count(1)
        self._contents = itertools.count()
        self._tokens = {name: self._token(name) for name in (USUAL, LARGEST)}
        self._claims = Claims(
            Tasks(site.database, site.locations.required[1]), large=False, sweep_seconds=0
        )
        self._scans = scans_of(site)
        self._deletions = DeleteQueue(
            site.database,
            site.graph.content,
            site.locations.required[1],
            available=lambda: True,
        )
        self._collector = Collector(site.database, site.graph.bundle, site.graph.placement_cache)

    def single(self) -> dict[str, Callable[[], object]]:
        """Return the operations of requests, and of activities that change a few rows."""
        return {
            "token": lambda: self._token(USUAL),
            "manifest by tag": lambda: self._pull(USUAL, f"manifests/{tag_name(self._usual())}"),
            "manifest by tag, largest repository": lambda: self._pull(
                LARGEST, f"manifests/{tag_name(self._largest())}"
            ),
            "manifest by digest": lambda: self._pull(
                USUAL, f"manifests/{manifest_digest(self._usual())}"
            ),
            "HEAD of a manifest": lambda: self._pull(
                USUAL, f"manifests/{tag_name(self._usual())}", "HEAD"
            ),
            "HEAD of a blob": lambda: self._pull(
                USUAL, f"blobs/{blob_digest(self._usual())}", "HEAD"
            ),
            "HEAD of a missing blob": lambda: self._pull(
                USUAL, f"blobs/{Digest.of(b'missing')}", "HEAD", status=404
            ),
            "blob": lambda: self._pull(USUAL, f"blobs/{blob_digest(self._usual())}", status=307),
            "mount": self._mount,
            "push of a layer": lambda: self._push(self._content()),
            "push of an image": self._push_image,
            "deletion of a manifest": self._delete,
            "tags of the largest repository": lambda: self._pull(
                LARGEST, f"tags/list?n={_PAGE}&last={tag_name(self._largest())}"
            ),
            "referrers": lambda: self._pull(USUAL, f"referrers/{manifest_digest(self._usual())}"),
            "claim of copies": self._copy,
            "claim of scans": self._claim_scans,
            "collection: manifests": self._collector.delete_manifests,
            "collection: rights": self._collector.delete_rights,
            "collection: blobs": self._collector.collect_blobs,
            "deletion of leftovers of uploads": self._site.graph.uploads.delete_leftovers,
            "deletion of objects": self._deletions.turn,
        }

    def batches(self) -> dict[str, Callable[[], object]]:
        """Return the operations that examine a range of blobs, or all repositories."""
        return {
            "collection: mark": self._collector.mark,
            "catalog": lambda: self._pull(None, f"_catalog?n={_PAGE}"),
        }

    def each(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield all operations."""
        yield from self.single().items()
        yield from self.batches().items()

    def _usual(self) -> int:
        """Return the number of an image of the usual repository."""
        number = next(self._numbers) % (self._size.tags // self._size.repositories)
        return _USUAL_NUMBER + number * self._size.repositories

    def _largest(self) -> int:
        """Return the number of an image of the largest repository, but none of the last ones."""
        return 100 * (1 + next(self._numbers) % (self._size.tags // 200))

    def _content(self) -> bytes:
        return b"content %d" % next(self._contents)

    def _token(self, name: RepositoryName) -> str:
        credentials = base64.b64encode(f"{SUPERUSER}:correct horse battery".encode()).decode()
        answer = self._client.simulate_get(
            "/v2/auth",
            params={"service": "registry.test", "scope": f"repository:{name}:pull,push,delete"},
            headers={"Authorization": f"Basic {credentials}"},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json["token"])

    def _pull(
        self, name: RepositoryName | None, path: str, method: str = "GET", *, status: int = 200
    ) -> None:
        self._request(name, path, method, status)

    def _request(
        self, name: RepositoryName | None, path: str, method: str, status: int
    ) -> testing.Result:
        path, _, query = path.partition("?")
        answer = self._client.simulate_request(
            method,
            f"/v2/{name}/{path}" if name else f"/v2/{path}",
            query_string=query,
            headers={"Authorization": f"Bearer {self._tokens[name or USUAL]}"},
        )
        assert answer.status_code == status, f"{method} {path}: {answer.status} {answer.text}"
        return answer

    def _mount(self) -> None:
        digest = blob_digest(self._usual())
        assert self._site.graph.blob_mounts.mount(self._largest_name, self._usual_name, digest)

    def _push(self, content: bytes) -> None:
        """Push a blob with POST, PATCH and PUT, as common clients do."""
        uploads = self._site.graph.uploads
        upload = uploads.start(self._usual_name, SUPERUSER)
        upload = uploads.append(upload, Body(io.BytesIO(content), len(content)))
        uploads.finish(upload, Digest.of(content), Body(io.BytesIO(b""), 0))

    def _push_image(self) -> None:
        """Push an image of a new configuration and a stored layer, under an existing tag."""
        config = self._content()
        self._push(config)
        self._site.manifests().put(
            self._usual_name,
            tag_name(self._usual()),
            image_manifest(config, [b"%d" % self._usual()]),
            MANIFEST_TYPE,
            tags=[],
            username=SUPERUSER,
        )

    def _delete(self) -> None:
        self._request(LARGEST, f"manifests/{manifest_digest(self._largest())}", "DELETE", 202)

    def _copy(self) -> None:
        claimed = self._claims.claim(16, list(self._site.locations.stores), [])
        assert len(claimed) == 16
        self._claims._tasks.finish(claimed)

    def _claim_scans(self) -> Any:
        claimed = self._scans.claim(4, INDEXER)
        assert claimed
        return claimed
