"""Any bytes at all, at every place of ours that reads a stranger's: good input bent, poison, and noise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.conftest import IS_SOAK
from tests.fuzz.seeds import SEEDS, TOKENS
from tests.fuzz.targets import TARGETS

EXAMPLES = 6000 if IS_SOAK else 120
_pieces = st.sampled_from(TOKENS) | st.binary(max_size=8)
_noise = st.binary(max_size=200) | st.lists(_pieces, max_size=30).map(b"".join)


@st.composite
def bent(draw, seeds):
    """A seed with a few places changed: something put in, taken out, doubled, or another seed's end put on."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        at, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        data = draw(
            st.one_of(
                _pieces.map(lambda piece, data=data, at=at: data[:at] + piece + data[at:]),
                _pieces.map(lambda piece, data=data, at=at, end=end: data[:at] + piece + data[end:]),
                st.just(data[:at] + data[end:]),
                st.just(data[:end] + data[at:]),
                st.sampled_from(seeds).map(lambda other, data=data, at=at: data[:at] + other[at:]),
            )
        )
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name, ledger):
    given_one_by_one = given(bent(SEEDS[name]) | _noise)

    @settings(max_examples=EXAMPLES)
    @given_one_by_one
    def holds(data):
        ledger.fault()
        TARGETS[name](data)

    for seed in SEEDS[name]:
        TARGETS[name](seed)
    holds()
