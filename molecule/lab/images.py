"""Build the images, and write the archives that are copied to the machines."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import CACHE, IMAGES, PODMAN, REPOSITORY, alone, podman, run_logged, succeeds
from errors import LabError
from progress import Steps

_INPUTS = "atoll.inputs"
_NAME = "atoll.image"
_LOGS = CACHE / "log"

_SBOM = "/usr/share/atoll/sbom.cdx.json"
# The programs that build an image and its bill of materials from a Containerfile.
_TOOLS = ("app/build-image", "app/image_sbom.py")

# Files that do not affect an image.
_NO_INPUT = {"tests", "__pycache__"}
_NO_INPUT_SUFFIXES = {".pyc", ".egg-info"}


@dataclass(frozen=True)
class Image:
    """An image, its inputs, and whether it is copied to the machines as an archive."""

    name: str
    tag: str
    context: str
    containerfile: str
    inputs: tuple[str, ...]
    archived: bool = False

    @property
    def archive(self) -> Path:
        """The file that is copied to the machines."""
        return IMAGES / f"{self.name}.tar"

    @property
    def sbom(self) -> Path:
        """The file of the image's bill of materials."""
        return IMAGES / f"{self.name}.sbom.cdx.json"


BASE = Image("base", "localhost/atoll-base:13", ".", "", ("app/build-base-image",))


def _service(name: str, folder: str) -> Image:
    tag = f"localhost/atoll-{name}:dev"
    return Image(name, tag, folder, f"{folder}/Containerfile", (folder,), archived=True)


def _of_lab(name: str, version: str) -> Image:
    folder = f"molecule/lab/{name}"
    return Image(
        name, f"localhost/atoll-{name}:{version}", folder, f"{folder}/Containerfile", (folder,)
    )


DEMONSTRATION = _of_lab("demonstration", "1")
# Built on demand for tests.
CLIENTS = _of_lab("clients", "13")
ENGINES = _of_lab("engines", "13")
BENCHMARK = _of_lab("benchmark", "13")
OTHER_STORES = (_of_lab("swift-store", "13"), _of_lab("azure-store", "3"))

REGISTRY = Image(
    "registry",
    "localhost/atoll-registry:dev",
    ".",
    "app/Containerfile",
    ("app", "pyproject.toml", "requirements.lock"),
    archived=True,
)
# The slowest builds come first, which minimizes the total time of parallel builds.
ON_BASE = (
    _of_lab("object-store", "18"),
    REGISTRY,
    _of_lab("machine", "13"),
    _service("postgres", "roles/postgres/files"),
    _service("redis", "roles/redis/files"),
    _service("load-balancer", "roles/load_balancer/files"),
    DEMONSTRATION,
)
_AT_ONCE = 2


def build(steps: Steps, names: list[str] | None = None) -> None:
    """Build the images whose inputs changed: those of the lab, or only the given ones."""
    known = {image.name: image for image in (*ON_BASE, CLIENTS, ENGINES, BENCHMARK, *OTHER_STORES)}
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise LabError(f"no such image: {', '.join(unknown)}; the images are: {', '.join(known)}")
    with alone("images"):
        _build(steps, [known[name] for name in names] if names else list(ON_BASE))


def _build(steps: Steps, wanted: list[Image]) -> None:
    existing = {name: row for row in _list() for name in row.get("Names") or ()}
    base = _hash(BASE, "")
    _build_one(steps, BASE, base, existing)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda image: _build_one(steps, image, _hash(image, base), existing), wanted))


def remove() -> None:
    """Remove the archives, and the built images that no container uses."""
    for image in (*ON_BASE, CLIENTS, ENGINES, BENCHMARK, *OTHER_STORES):
        _remove(image.tag)
    # An unnamed image can be removed only after the images that are based on it.
    while sum([_remove(identity) for identity in _unnamed()]):
        continue
    _remove(BASE.tag)
    shutil.rmtree(IMAGES, ignore_errors=True)
    shutil.rmtree(_LOGS, ignore_errors=True)


# Images of running machines, also of other scenarios, are kept.
def _remove(reference: str) -> bool:
    return succeeds([*PODMAN, "image", "rm", reference])


def _build_one(steps: Steps, image: Image, inputs: str, existing: dict[str, Any]) -> None:
    built = existing.get(image.tag, {})
    if (built.get("Labels") or {}).get(_INPUTS) != inputs:
        log = _LOGS / f"image-{image.name}.log"
        with steps.step(f"Build the image {image.name}") as step:
            step.show(f"log: {log.relative_to(REPOSITORY)}")
            _run_build(image, inputs, log)
        if built:
            # Remove the replaced image unless a machine still uses it.
            _remove(built["Id"])
        built = {}
    if image.archived:
        _write_archive(steps, image, built.get("Id") or _identity(image.tag))


def _run_build(image: Image, inputs: str, log: Path) -> None:
    labels = {_NAME: image.name, _INPUTS: inputs}
    if image is BASE:
        words = ["app/build-base-image", image.tag]
        words += [word for key in labels for word in ("--change", f"LABEL {key}={labels[key]}")]
    else:
        words = ["app/build-image", image.context, image.tag, "--file", image.containerfile]
        words += [word for key in labels for word in ("--label", f"{key}={labels[key]}")]
    run_logged([PODMAN[0], *words], log)


# The archive must contain exactly the current image.
def _write_archive(steps: Steps, image: Image, identity: str) -> None:
    known = image.archive.with_suffix(".image")
    if image.archive.exists() and known.exists() and known.read_text() == identity:
        return
    IMAGES.mkdir(parents=True, exist_ok=True)
    temporary = image.archive.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    form = ("--quiet", "--format=oci-archive", "--uncompressed")
    with steps.step(f"Write the archive of {image.name}"):
        podman("save", *form, f"--output={temporary}", image.tag)
        words = ("run", "--rm", "--network=none", "--entrypoint=cat", image.tag, _SBOM)
        image.sbom.write_text(podman(*words))
    temporary.replace(image.archive)
    known.write_text(identity)


def _identity(tag: str) -> str:
    return podman("image", "inspect", "--format", "{{.Id}}", tag).strip()


def _list(*words: str) -> list[dict[str, Any]]:
    return list(json.loads(podman("images", *words, "--format", "json") or "[]"))


def _hash(image: Image, base: str) -> str:
    content = hashlib.sha256(base.encode())
    inputs = image.inputs if image is BASE else (*image.inputs, *_TOOLS)
    for path in sorted(file for place in inputs for file in _files(REPOSITORY / place)):
        executable = os.access(path, os.X_OK)
        content.update(f"\0{path.relative_to(REPOSITORY)}\0{executable}\0".encode())
        content.update(path.read_bytes())
    return content.hexdigest()


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for path in place.iterdir():
        if path.name not in _NO_INPUT and path.suffix not in _NO_INPUT_SUFFIXES:
            yield from _files(path)


# Return the unnamed images of earlier builds: those that are based on one of our base images.
def _unnamed() -> list[str]:
    found = _list("--all")
    bases = [row["Id"] for row in found if (row.get("Labels") or {}).get(_NAME) == BASE.name]
    unnamed = [row["Id"] for row in found if not row.get("Names")]
    if not bases or not unnamed:
        return []
    layers = {
        image["Id"]: (image["RootFS"].get("Layers") or [""])[0]
        for image in json.loads(podman("image", "inspect", *bases, *unnamed))
    }
    ours = {layers[identity] for identity in bases}
    return [identity for identity in unnamed if layers[identity] in ours]
