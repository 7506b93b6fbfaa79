"""Bearer tokens are accepted only if the registry signed them."""

from __future__ import annotations

import base64

import jwt
from atoll.auth.access import Grant
from atoll.auth.tokens import InvalidToken, Tokens
from atoll.names import RepositoryName
from hypothesis import strategies as st

from .fuzzing import fuzz
from .mutation import header_values, mutated_json

TOKENS = Tokens(b"k" * 32, "registry.test")
TOKEN, _ = TOKENS.issue("reader", [Grant(RepositoryName("admin", "app"), frozenset({"pull"}))])
IDENTITY = TOKENS.read(TOKEN)
HEADER, CLAIMS, SIGNATURE = TOKEN.split(".")


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _json(value: object) -> st.SearchStrategy[str]:
    return mutated_json(st.just(value)).map(_encode)


FORGED = st.builds(
    "{}.{}.{}".format,
    st.just(HEADER)
    | _json({"alg": "HS256", "typ": "JWT"})
    | _json({"alg": "none"})
    | _json({"alg": "RS256", "crit": ["b64"], "b64": False, "kid": "1", "jku": "http://a"}),
    st.just(CLAIMS) | _json(jwt.decode(TOKEN, options={"verify_signature": False})),
    st.just(SIGNATURE) | st.just("") | st.binary(max_size=40).map(_encode),
)


def check(token: str) -> None:
    try:
        identity = TOKENS.read(token)
    except InvalidToken:
        return
    # The encoding may differ, because several Base64 texts decode to the same signature.
    assert identity == IDENTITY
    assert token.split(".")[:2] == [HEADER, CLAIMS]


def test_only_signed_tokens_are_accepted() -> None:
    fuzz(check, header_values(st.just(TOKEN) | FORGED))
