"""Quantities of Kubernetes, such as 250m or 2Gi."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")


def is_quantity(value: Any) -> bool:
    """Return whether a value is a quantity."""
    return not isinstance(value, bool) and bool(_QUANTITY.fullmatch(str(value)))


def quantity_problems(place: str, quantities: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each value that is not a quantity.

    Args:
        place: The name of the setting.
        quantities: The values by resource.
    """
    for name, value in quantities.items():
        if not is_quantity(value):
            yield f"{place}.{name} is {value!r}, which is not a quantity: write 250m or 2Gi"
