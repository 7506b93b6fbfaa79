"""Errors about JSON documents that do not fit their model."""

from __future__ import annotations

from pydantic import ValidationError

# Errors whose text names a class or a type of Python.
_NOT_AN_OBJECT = {"model_type", "model_attributes_type", "dict_type"}
# The characters of a field's name that are kept: the document may have chosen it.
_NAME_MAXIMUM = 100


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the path of the first invalid field, and the problem.

    pydantic's texts contain no value of the document, which may be secret; those of validators may.

    Args:
        error: The error.

    Returns:
        The names of fields and the indexes of lists, joined by dots, and a text. The path is empty
        for the whole document.
    """
    detail = error.errors(include_input=False, include_url=False, include_context=False)[0]
    text = detail["msg"].removeprefix("Value error, ")
    if detail["type"] in _NOT_AN_OBJECT:
        text = "Input should be an object"
    return ".".join(str(part)[:_NAME_MAXIMUM] for part in detail["loc"]), text
