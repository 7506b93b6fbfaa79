"""Valid digests and repository names, which are also parts of other inputs."""

from __future__ import annotations

from atoll.names import Digest
from hypothesis import strategies as st

DIGESTS = st.builds(
    lambda data, algorithm: str(Digest.of(data, algorithm)),
    st.binary(max_size=8),
    st.sampled_from(["sha256", "sha512"]),
)

_COMPONENT = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}", fullmatch=True)
REPOSITORY_NAMES = st.lists(_COMPONENT, min_size=1, max_size=4).map("/".join)
