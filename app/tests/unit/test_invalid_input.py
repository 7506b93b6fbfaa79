"""Errors about invalid documents name the field and what is expected, and no class of Atoll."""

from __future__ import annotations

from typing import Annotated

import pytest
from atoll.invalid_input import first_problem
from pydantic import AfterValidator, BaseModel, ValidationError


def _even(number: int) -> int:
    if number % 2:
        raise ValueError("must be even")
    return number


class Inner(BaseModel):
    number: Annotated[int, AfterValidator(_even)]


class Outer(BaseModel):
    inner: Inner
    values: dict[str, int] = {}


@pytest.mark.parametrize(
    ("document", "field", "text"),
    [
        ([], "", "Input should be an object"),
        ({"inner": "x"}, "inner", "Input should be an object"),
        ({"inner": {"number": 2}, "values": []}, "values", "Input should be an object"),
        ({"inner": {"number": 1}}, "inner.number", "must be even"),
        ({}, "inner", "Field required"),
    ],
)
def test_the_first_problem_names_the_field_and_what_is_expected(
    document: object, field: str, text: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(document)
    assert first_problem(caught.value) == (field, text)
