"""Repository names follow the grammar of the specification, or are refused with InvalidName."""

from __future__ import annotations

from atoll.names import DEFAULT_NAMESPACE, InvalidName, RepositoryName

from .answers import assert_sendable
from .fuzzing import assert_linear, fuzz
from .mutation import texts
from .names import REPOSITORY_NAMES


def check(text: str) -> None:
    try:
        name = RepositoryName.parse(text)
    except InvalidName as error:
        assert not RepositoryName.fits(text)
        assert_sendable(error)
        return
    assert str(name) in {text, f"{DEFAULT_NAMESPACE}/{text}"}
    assert RepositoryName.parse(str(name)) == name or len(str(name)) > 255
    # Names are parts of paths, keys and file names.
    for component in str(name).split("/"):
        assert component.strip(".-_") == component != ""
    assert len(text) <= 255
    assert text.isascii()
    assert text == text.lower()


def test_any_repository_name_is_parsed_or_refused() -> None:
    fuzz(check, texts(REPOSITORY_NAMES))


def test_every_valid_name_is_accepted() -> None:
    def accept(text: str) -> None:
        assert RepositoryName.fits(text)

    fuzz(accept, REPOSITORY_NAMES.filter(lambda text: len(text) <= 255), share=0.1)


def test_a_hostile_name_is_refused_in_linear_time() -> None:
    for piece in ("a-", "a_", "a/", "a.", "aa", "-", "a__"):
        assert_linear(RepositoryName.fits, lambda size, piece=piece: piece * size + "!", 4000)
