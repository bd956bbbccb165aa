import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.core import ids, layout

ORIGIN = "0123456789ab"


@given(st.integers(0, 2**24 - 1))
def test_a_segments_path_says_which_segment_it_is(segment):
    path = layout.segment_path("ann", ORIGIN, segment)
    parsed = layout.parse_path(path)
    assert parsed == (path, "ann", ORIGIN, segment)
    assert parsed.log == f"messages/ann/{ORIGIN}" and not parsed.is_legacy


@given(st.integers(0, 2**24 - 2))
def test_segments_follow_each_other_in_the_order_of_their_paths(segment):
    assert layout.segment_path("ann", ORIGIN, segment) < layout.segment_path("ann", ORIGIN, segment + 1)


def test_a_folder_holds_256_segments_of_64_kilobytes():
    assert layout.segment_path("ann", ORIGIN, 255) == f"messages/ann/{ORIGIN}/0000/ff.jsonl"
    assert layout.segment_path("ann", ORIGIN, 256) == f"messages/ann/{ORIGIN}/0001/00.jsonl"
    assert layout.SEGMENT_BYTES == 65536


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("events.jsonl", ""),
        ("messages/ann.jsonl", "ann"),
        ("messages/implementer_9F2K3M1Q8Z.jsonl", "implementer_9F2K3M1Q8Z"),
    ],
)
def test_the_files_of_v010_are_logs_of_one_file(path, owner):
    parsed = layout.parse_path(path)
    assert parsed == (path, owner, "", 0) and parsed.is_legacy and parsed.log == path


@pytest.mark.parametrize("agent", ["ann", "user:leon", "agent:implementer:9F2K3M1Q8Z", "implementer_03fjevz0bb"])
def test_every_agents_log_has_a_path_that_is_read_again(agent):
    assert layout.parse_path(layout.segment_path(ids.stem(agent), ORIGIN, 0)).owner == ids.stem(agent)


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "events.jsonl\n", "Events.jsonl", "x/events.jsonl", "messages", "messages/", "messages/.jsonl",
        "messages/../evil.jsonl", "messages/a/b.jsonl", "messages/a b.jsonl", "messages/ann.jsonl.tmp",
        f"messages/ann/{ORIGIN}/0000/00.jsonl\n", f"messages/ann/{ORIGIN}/0000/0.jsonl", f"messages/ann/{ORIGIN}/0000/GG.jsonl",
        f"messages/ann/{ORIGIN}/000/00.jsonl", f"messages/-ann/{ORIGIN}/0000/00.jsonl", f"messages/Ann/{ORIGIN}/0000/00.jsonl",
        f"messages/../{ORIGIN}/0000/00.jsonl", f"messages/ann/{ORIGIN}/../00.jsonl", f"/messages/ann/{ORIGIN}/0000/00.jsonl",
        f"messages//ann/{ORIGIN}/0000/00.jsonl", "messages/ann/UPPERCASE123/0000/00.jsonl", "messages/ann/short/0000/00.jsonl",
        f"messages/é/{ORIGIN}/0000/00.jsonl", f"messages/ann/{ORIGIN}/0000/00.JSONL", "messages/\udcff.jsonl",
        f"messages/{'a' * 81}/{ORIGIN}/0000/00.jsonl", f"messages/ann/{ORIGIN}/\u0660\u0660\u0660\u0660/00.jsonl",
    ],
)  # fmt: skip
def test_every_other_path_is_no_log(path):
    assert layout.parse_path(path) is None


@given(st.text(max_size=60) | st.text("ames/g.jonl0123 -_", max_size=40).map(lambda t: "messages/" + t))
def test_a_log_never_lies_outside_its_root(path):
    parsed = layout.parse_path(path)
    if parsed is not None:
        assert parsed.path == path and ".." not in path.split("/") and not path.startswith("/")
