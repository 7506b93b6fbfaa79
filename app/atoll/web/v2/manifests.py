"""`/v2/<name>/manifests/<reference>`: a manifest by tag or digest."""

from __future__ import annotations

from datetime import UTC, datetime

import falcon

from atoll.audit.log import Entry
from atoll.audit.pulls import PullLog
from atoll.auth.access import DELETE, PULL
from atoll.names import Digest, RepositoryName, is_tag, parse_tag
from atoll.registry.errors import ManifestInvalid, ManifestUnknown
from atoll.registry.manifest import Manifest
from atoll.registry.manifest_format import MAXIMUM_SIZE
from atoll.registry.manifests import Manifests
from atoll.registry.tags import Tags
from atoll.web.bearer_auth import BearerAuth
from atoll.web.client_address import client_address
from atoll.web.errors import BodyTooLarge, TooManyTags
from atoll.web.external_url import ExternalUrls
from atoll.web.v2.conditions import is_not_modified

# Tags in the query of a push. The draft of the specification requires at least ten.
TAGS_MAXIMUM = 32


class ManifestResource:
    """One manifest (end-3, end-7, end-9)."""

    def __init__(
        self,
        manifests: Manifests,
        tags: Tags,
        auth: BearerAuth,
        external_urls: ExternalUrls,
        pulls: PullLog,
    ) -> None:
        self._manifests = manifests
        self._tags = tags
        self._auth = auth
        self._external_urls = external_urls
        self._pulls = pulls

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, reference: str) -> None:
        """Return the manifest, byte for byte."""
        authorized = self._auth.require(req, RepositoryName.parse(name), PULL)
        manifest = self._find(resp, authorized.repository, reference)
        puller = authorized.identity.username
        self._record_pull(req, authorized.repository, reference, manifest.digest, puller)
        if not is_not_modified(req, resp, manifest.digest):
            resp.data = manifest.content

    def on_head(
        self, req: falcon.Request, resp: falcon.Response, name: str, reference: str
    ) -> None:
        """Return the manifest's digest and size."""
        repository = self._auth.require_head(req, RepositoryName.parse(name)).repository
        manifest = self._find(resp, repository, reference)
        if not is_not_modified(req, resp, manifest.digest):
            resp.content_length = len(manifest.content)

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str, reference: str) -> None:
        """Store a manifest whose blobs the repository has."""
        repository = RepositoryName.parse(name)
        authorized = self._auth.require_push(req, repository)
        _check_reference(reference)
        tags = _tags(req)
        with self._auth.challenge_if_replaced(req, repository):
            stored = self._manifests.put(
                authorized.repository,
                reference,
                _content(req),
                _media_type(req),
                tags=tags,
                username=authorized.identity.username,
                address=client_address(req),
            )
        digest = stored.digest
        if stored.subject is not None:
            resp.set_header("OCI-Subject", stored.subject)
        if tags:
            resp.set_header("OCI-Tag", ", ".join(tags))
        if stored.foreign_layers:
            resp.set_header("Warning", _warning(stored.foreign_layers))
        resp.set_header("Location", self._external_urls.url(req, f"/v2/{name}/manifests/{digest}"))
        resp.set_header("Docker-Content-Digest", str(digest))
        resp.status = falcon.HTTP_CREATED

    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, name: str, reference: str
    ) -> None:
        """Delete a manifest and its tags by digest, or a single tag."""
        authorized = self._auth.require(req, RepositoryName.parse(name), DELETE)
        repository, username = authorized.repository, authorized.identity.username
        _check_findable(repository, reference)
        if Digest.is_digest(reference):
            self._manifests.delete(repository, Digest.parse(reference), username)
        else:
            self._tags.delete(repository, reference, username)
        resp.status = falcon.HTTP_ACCEPTED

    def _find(self, resp: falcon.Response, repository: RepositoryName, reference: str) -> Manifest:
        """Find a manifest and set the headers that describe it."""
        _check_findable(repository, reference)
        manifest = self._manifests.get(repository, reference)
        resp.content_type = manifest.media_type
        resp.set_header("Docker-Content-Digest", str(manifest.digest))
        return manifest

    def _record_pull(
        self,
        req: falcon.Request,
        name: RepositoryName,
        reference: str,
        digest: Digest,
        puller: str | None,
    ) -> None:
        metadata = {"namespace": name.namespace, "repo": name.name, "manifest_digest": str(digest)}
        if not Digest.is_digest(reference):
            metadata["tag"] = reference
        self._pulls.note(
            Entry(
                "pull_repo",
                name.namespace,
                name.name,
                puller,
                client_address(req),
                metadata,
                datetime.now(UTC),
            )
        )


def _warning(foreign_layers: list[str]) -> str:
    """Return a Warning header (distribution-spec, "Warnings"): agent `-`, no date, no quotes."""
    first, count = foreign_layers[0], len(foreign_layers)
    layers = f"{first} and {count - 1} more layers are" if count > 1 else f"{first} is"
    return f'299 - "{layers} not in this registry; pulls need the URLs in the manifest"'


def _check_findable(name: RepositoryName, reference: str) -> None:
    """Raise for a reference that no manifest can have: a malformed digest or tag."""
    if Digest.is_digest(reference):
        Digest.parse(reference)
    elif not is_tag(reference):
        raise ManifestUnknown(f"'{name}' has no manifest '{reference[:200]}'")


def _check_reference(reference: str) -> None:
    if Digest.is_digest(reference):
        Digest.parse(reference)
    else:
        parse_tag(reference)


def _tags(req: falcon.Request) -> list[str]:
    """Return the distinct tags in the query. Raises InvalidName or TooManyTags."""
    tags = list(dict.fromkeys(req.get_param_as_list("tag") or []))
    if len(tags) > TAGS_MAXIMUM:
        raise TooManyTags(f"a push may have at most {TAGS_MAXIMUM} tags, not {len(tags)}")
    return [parse_tag(tag) for tag in tags]


def _content(req: falcon.Request) -> bytes:
    size = req.content_length or 0
    if size > MAXIMUM_SIZE:
        raise BodyTooLarge(f"a manifest may have at most {MAXIMUM_SIZE} bytes")
    return bytes(req.bounded_stream.read(size))


def _media_type(req: falcon.Request) -> str:
    media_type = (req.content_type or "").partition(";")[0].strip()
    if not media_type:
        raise ManifestInvalid("the request has no Content-Type; send the manifest's media type")
    return media_type
