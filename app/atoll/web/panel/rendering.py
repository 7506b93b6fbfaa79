"""Render the templates of the panel."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import jinja2

import atoll
from atoll.mirroring.problems import problem_text
from atoll.web.panel import formats
from atoll.web.panel.sites import KINDS
from atoll.web.panel.static_files import StaticFiles


class Renderer:
    """Renders templates to HTML. Values are escaped; undefined ones are errors."""

    def __init__(self, static_files: StaticFiles, *, registry: str, **shared: Any) -> None:
        """Load the templates.

        Args:
            static_files: The static files that pages link to.
            registry: The name of the registry, which is shown on every page.
            shared: Further variables of all templates.
        """
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("atoll.web.panel", "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            size=formats.size,
            count=formats.count,
            duration=formats.duration,
            latency=formats.latency,
            moment=formats.moment,
            digest=formats.digest,
            problem=problem_text,
            segment=_segment,
            query=_query,
        )
        self._environment.globals.update(
            static=static_files.path,
            htmx="htmx.min.js" in static_files,
            registry=registry,
            version=atoll.__version__,
            kinds=KINDS,
            **shared,
        )

    def render(self, template: str, **context: Any) -> str:
        """Return the HTML of a template."""
        return self._environment.get_template(template).render(context)


def _segment(text: object) -> str:
    """Return a text as a part of a path; slashes separate the parts of repository names."""
    return quote(str(text), safe="/:+")


def _query(values: dict[str, Any]) -> str:
    """Return the query of a URL, without values that are None or empty."""
    kept = {name: value for name, value in values.items() if value not in {None, "", False}}
    return f"?{urlencode(kept)}" if kept else ""
