"""An image of the registry as a later version builds it, with a migration of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import podman
from images import REGISTRY

VERSION = "99.0.0"
TABLE = "of_the_next_version"
_TAG = "localhost/atoll-registry:next"
_RECIPE = """
FROM {image}
USER 0
RUN cd "$(python -c 'import atoll; print(*atoll.__path__)')" \\
    && sed --in-place 's/^__version__ = .*/__version__ = "{version}"/' __init__.py \\
    && echo 'CREATE TABLE {table} (id bigint);' > db/migrations/{number:04d}_next_version.sql
USER 1001:1001
"""


@contextmanager
def next_version(folder: Path, number: int) -> Iterator[Path]:
    """Build the image, and yield its archive.

    Args:
        folder: where the archive is written.
        number: the number of the migration, which follows the last one of this version.
    """
    archive = folder / "next.tar"
    recipe = _RECIPE.format(image=REGISTRY.tag, version=VERSION, table=TABLE, number=number)
    build = ("build", "--pull=never", "--quiet", "--network=none", f"--tag={_TAG}", "--file=-")
    podman(*build, str(folder), given=recipe)
    try:
        podman("save", "--quiet", "--format=oci-archive", f"--output={archive}", _TAG)
        yield archive
    finally:
        archive.unlink(missing_ok=True)
        podman("image", "rm", _TAG)
