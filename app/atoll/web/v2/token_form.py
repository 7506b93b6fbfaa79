"""The form of a token request (OAuth2, grant type "password")."""

from __future__ import annotations

from urllib.parse import parse_qs

import falcon

from atoll.web.errors import InvalidForm

FORM_MAXIMUM = 64 * 1024


def read_form(req: falcon.Request) -> dict[str, str]:
    """Return the fields of a form. Values of the same name, such as scopes, are joined by spaces.

    Raises:
        InvalidForm: the body is not such a form.
    """
    if req.content_type is None or not req.content_type.startswith(falcon.MEDIA_URLENCODED):
        raise InvalidForm(f"send a form: Content-Type {falcon.MEDIA_URLENCODED}")
    raw = req.bounded_stream.read(FORM_MAXIMUM + 1)
    if len(raw) > FORM_MAXIMUM:
        raise InvalidForm(f"the form may have at most {FORM_MAXIMUM} bytes")
    try:
        fields = parse_qs(raw.decode(), strict_parsing=bool(raw), keep_blank_values=True)
    except ValueError as error:
        raise InvalidForm("the form is malformed") from error
    if any("\0" in value for name in ("username", "password") for value in fields.get(name, [])):
        raise InvalidForm("user names and passwords must not contain a zero byte")
    grant_type = fields.get("grant_type", ["password"])[0]
    if grant_type != "password":
        raise InvalidForm("grant_type must be password")
    return {name: " ".join(values) for name, values in fields.items()}
