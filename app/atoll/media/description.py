"""The description of a medium: what it has, and which earlier media have the rest.

It is a file beside the OCI image layout. Its size is limited, so that its memory is.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from atoll.invalid_input import first_problem
from atoll.names import Digest, RepositoryName, is_tag
from atoll.registry.manifest_format import is_media_type

MAXIMUM_BYTES = 16 * 2**20
_SIZE_MAXIMUM = 2**50
_TEXT_MAXIMUM = 255


def _digest(text: str) -> str:
    return str(Digest.parse(text))


def _tag(text: str) -> str:
    if not is_tag(text):
        raise ValueError("not a tag")
    return text


def _repository(text: str) -> str:
    if not RepositoryName.fits(text) or "/" not in text:
        raise ValueError("not the name of a repository with its namespace")
    return text


def _media_type(text: str) -> str:
    if not is_media_type(text):
        raise ValueError("not a media type")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("not printable")
    return text


DigestText = Annotated[str, AfterValidator(_digest)]
TagText = Annotated[str, AfterValidator(_tag)]
RepositoryText = Annotated[str, AfterValidator(_repository)]
MediaTypeText = Annotated[str, Field(max_length=_TEXT_MAXIMUM), AfterValidator(_media_type)]
Text = Annotated[str, Field(min_length=1, max_length=_TEXT_MAXIMUM), AfterValidator(_printable)]
Size = Annotated[int, Field(ge=0, le=_SIZE_MAXIMUM)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ExportedTag(_Model):
    """A tag as the exporting registry had it.

    Attributes:
        digest: The digest of its manifest.
        changed_ms: When it was pointed there, in milliseconds since the epoch by the clock of the
            exporting registry.
    """

    digest: DigestText
    changed_ms: Annotated[int, Field(ge=0, le=2**62)]


class RepositoryContent(_Model):
    """The images of a repository.

    Attributes:
        tags: The tags; those that cosign attaches to an image precede the tags of the image.
        images: The manifests of each image by the digest of its tags, in the order of the import:
            those that an index lists, the index, its referrers.
        types: The media type of each of these manifests.
    """

    tags: dict[TagText, ExportedTag] = Field(default_factory=dict)
    images: dict[DigestText, list[DigestText]] = Field(default_factory=dict)
    types: dict[DigestText, MediaTypeText] = Field(default_factory=dict)


class Description(_Model):
    """What a medium has.

    Attributes:
        format: Marks the file.
        version: The version of the format.
        id: The identity of the medium.
        name: Its name, for messages.
        registry: The host name of the exporting registry.
        exported_at: The time of the last export, in RFC 3339.
        repositories: The repositories by name.
        files: The sizes in bytes of the manifests and blobs on the medium.
        omitted: The manifests and blobs that earlier media have, with the id of one of these.
        earlier: The names of earlier media by their ids.
        absent: Manifests that indexes list and that the exporting registry did not have.
    """

    format: Literal["atoll-medium"] = "atoll-medium"
    version: Literal[1] = 1
    id: Text
    name: Text
    registry: Text
    exported_at: Text
    repositories: dict[RepositoryText, RepositoryContent] = Field(default_factory=dict)
    files: dict[DigestText, Size] = Field(default_factory=dict)
    omitted: dict[DigestText, Text] = Field(default_factory=dict)
    earlier: dict[Text, Text] = Field(default_factory=dict)
    absent: list[DigestText] = Field(default_factory=list)

    def holder(self, digest: str) -> str | None:
        """Return the id of a medium that has a manifest or blob; None if it is not known."""
        return self.id if digest in self.files else self.omitted.get(digest)

    def name_of(self, medium: str) -> str:
        """Return the name of this or an earlier medium."""
        return self.name if medium == self.id else self.earlier.get(medium, medium)

    def to_json(self) -> bytes:
        """Return the file.

        Raises:
            ValueError: It would exceed MAXIMUM_BYTES.
        """
        content = self.model_dump_json().encode()
        if len(content) > MAXIMUM_BYTES:
            raise ValueError(f"the description has more than {MAXIMUM_BYTES} bytes")
        return content


def parse_description(content: bytes) -> Description:
    """Parse the file.

    Raises:
        ValueError: It is not a description; the text names the first problem.
    """
    try:
        description = Description.model_validate_json(content)
    except ValidationError as error:
        field, text = first_problem(error)
        raise ValueError(f"{field}: {text}" if field else text) from error
    _check_references(description)
    return description


def _check_references(description: Description) -> None:
    for name, content in description.repositories.items():
        for tag, state in content.tags.items():
            if state.digest not in content.images:
                raise ValueError(f"{name}:{tag}: its image is not listed")
        for image, manifests in content.images.items():
            if image not in manifests:
                raise ValueError(f"{name}@{image}: its manifest is not listed")
            for digest in manifests:
                if digest not in content.types:
                    raise ValueError(f"{name}@{digest}: its media type is missing")
                if description.holder(digest) is None:
                    raise ValueError(f"{name}@{digest}: no medium has it")
