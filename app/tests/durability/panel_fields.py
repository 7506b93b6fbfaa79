"""The fields of a form as a browser would send them if the user changed nothing."""

from __future__ import annotations

from html.parser import HTMLParser


def form_fields(html: str, action: str) -> dict[str, str]:
    """Return the fields of the form that has the hidden field `action` with this value.

    The token of the session is left out.
    """
    parser = _Forms()
    parser.feed(html)
    found = [form for form in parser.forms if form.get("action") == action]
    assert len(found) == 1, f"{len(found)} forms have the action '{action}'"
    return {name: value for name, value in found[0].items() if name != "csrf_token"}


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self._name: str | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.forms.append({})
        elif tag == "input":
            if given.get("type") != "checkbox" or "checked" in given:
                self.forms[-1][given["name"]] = given.get("value", "")
        elif tag in {"textarea", "select"}:
            self._name, self._text = given["name"], ""
            self.forms[-1][self._name] = ""
        elif tag == "option" and self._name and "selected" in given:
            self.forms[-1][self._name] = given["value"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._name is not None:
            # The line break that begins the content does not belong to it.
            text = self._text.replace("\r\n", "\n").removeprefix("\n")
            self.forms[-1][self._name] = text
        if tag in {"textarea", "select"}:
            self._name = None

    def handle_data(self, data: str) -> None:
        self._text += data
