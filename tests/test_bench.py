"""The measuring itself: rows that judge themselves, charts that are XML, a page that is made from results alone."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import __main__ as program
from bench import alone, charts, goals, page, scribe
from bench.measure import FEWEST, Goal, Row, in_turn, number, percentile, table
from bench.scale import FULL, QUICK, TINY
from tests import kit
from thrum.core import codec
from thrum.store import chains
from thrum.store import history as past

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("goal", "value", "against", "met"),
    [
        (Goal(), 5.0, None, None),
        (Goal(ratio=1.5), 15.0, 10.0, True),
        (Goal(ratio=1.5), 15.1, 10.0, False),
        (Goal(ratio=1.5), 1.0, None, False),
        (Goal(share=0.5), 5.0, 10.0, True),
        (Goal(share=0.5), 4.9, 10.0, False),
        (Goal(extra=2), 12.0, 10.0, True),
        (Goal(extra=2), 12.1, 10.0, False),
        (Goal(most=0), 0.0, None, True),
        (Goal(most=0), 1.0, None, False),
        (Goal(least=100), 100.0, None, True),
        (Goal(least=100), 99.9, None, False),
        (Goal(ratio=2, most=1), 1.5, 1.0, False),
        (Goal(ratio=2, most=1), 0.9, 0.4, False),
        (Goal(ratio=2, most=1), 0.9, 0.5, True),
    ],
)
def test_a_row_judges_itself_by_all_its_limits(goal, value, against, met):
    assert Row("key", "name", value, "ms", "beside", against, goal).met is met


def test_a_row_is_the_same_after_it_was_kept():
    row = goals.row("warm.send", 10.0, 8.0, 30)
    kept = json.loads(json.dumps(row.as_json()))
    assert Row.from_json(kept) == row
    assert (kept["ratio"], kept["met"]) == (1.25, True)


def test_a_row_says_in_words_what_is_to_be_reached():
    assert Goal(ratio=1.5, most=250).words("ms") == "≤ 1.5 x, ≤ 250 ms"
    assert Goal(share=1, least=10_000).words("/s") == "≥ 1 x, ≥ 10,000/s"
    assert (Goal(extra=2).words("ms"), Goal(most=0).words("")) == ("+ ≤ 2 ms", "0")
    assert (number(12345.6, "/s"), number(0.0421, "ms"), number(0, "")) == ("12,346/s", "0.042 ms", "0")


def test_actions_take_turns_and_the_first_round_does_not_count():
    order = []
    runs = in_turn([lambda: order.append("a"), lambda: order.append("b")], 11)
    assert all({*order[at : at + 2]} == {"a", "b"} for at in range(0, 24, 2)) and len(order) == 24
    assert {"".join(order[at : at + 2]) for at in range(0, 24, 2)} == {"ab", "ba"}
    assert [len(mine) for mine in runs] == [11, 11]


def test_a_percentile_is_one_of_the_values():
    assert [percentile(range(1, 101), point) for point in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0


def test_the_table_marks_what_was_missed():
    text = table([goals.row("warm.send", 20.0, 10.0), goals.row("hooks.commit", 5.0, 4.0)])
    assert "MISSED" in text.splitlines()[1] and "met" in text.splitlines()[2]


def test_the_list_names_every_row_with_its_goal():
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(goals.ROWS)
    for word in (
        *(
            "git-thrum send",
            "git thrum who-has",
            "without a daemon",
            "git commit with our hooks",
            "blocked wait",
            "WebSocket",
        ),
        *(
            "MCP wait",
            "one connection",
            "16 connections",
            "10 processes",
            "rebuild, 1,000,000",
            "unread count at 1,000,000",
        ),
        *(
            "nothing new",
            "one sync",
            "growth of .git",
            "another",
            "50,000 files, cold",
            "50,000 files, warm",
            "idle: CPU",
        ),
    ):
        assert any(word in line for line in lines), word


def test_what_is_not_a_theme_is_refused_with_the_names_of_those_that_are(capsys):
    assert program.main(["speed"]) == 2
    assert "commands" in capsys.readouterr().err


def test_the_themes_fill_in_the_rows_that_are_declared_for_them():
    line = [sys.executable, "-m", "bench", "--tiny", "hooks", "history", "idle"]
    with tempfile.TemporaryDirectory(prefix="thrum-") as short:  # a socket's path has to fit
        env = {**os.environ, "TMPDIR": short}
        done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert not os.listdir(short), "a playground was left behind"
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    told = done.stdout.splitlines()
    for key in goals.ROWS:
        if key.startswith(("hooks.", "rebuild.", "query.", "start.", "sync.", "idle.")):
            name = goals.row(key, 0, **TINY.words).name
            assert any(row.startswith(name) for row in told), key


def test_what_is_slow_is_not_run_again_for_ever():
    assert [len(mine) for mine in in_turn([lambda: None], 30, within=0)] == [FEWEST]
    assert [len(mine) for mine in in_turn([lambda: None], 3, within=0)] == [3]


def test_every_scale_has_its_rebuilds_and_sizes_that_grow():
    for scale in (FULL, QUICK, TINY):
        assert len(scale.rebuilds) == len(scale.sizes) >= 3
        assert list(scale.sizes) == sorted(set(scale.sizes))
    assert min(FULL.times, FULL.whole, FULL.slow) >= 30


def test_histories_are_what_we_would_have_written_ourselves(repository):
    own = kit.set_up(repository)
    kit.hire(own, repository, scribe.READER)
    written = scribe.write(own, 700)
    lines = [line for data in alone.logs(own.place.log_root) for line in data.splitlines()]
    assert all(codec.encode(codec.decode(line)) == line for line in lines)
    assert abs(written.events - 700) <= 1
    own.catch_up()
    assert own.mail.unread_count(scribe.READER) > 0
    asked = scribe.questions(own, str(repository), written)
    assert all(asked[key]()["total"] for key in ("inbox", "unread_page", "thread", "scope", "mention", "author"))
    assert own.projection.connection.execute("SELECT COUNT(*) FROM bad_line").fetchone() == (0,)
    root = own.place.log_root
    parse = past.parser(root, past.logs(root))
    assert not [found for log in past.logs(root) for found in chains.breaks(past.read(root, log, parse))]
    own.close()


@pytest.fixture
def results():
    """What a run leaves behind."""
    run = program.Run(FULL)
    run.rows = [goals.row(key, 10.0, 8.0, 30, **FULL.words) for key in goals.ROWS]
    run.samples = {"git-thrum send": [9.0, 10.0, 11.0, 90.0], "git thrum send": [12.0] * 4, page.FLOOR: [8.0] * 4}
    run.curves = {key: {1000: 0.05, 10_000: 0.05, 100_000: 0.06, 1_000_000: 20.0} for key in page.CURVES}
    assert run.is_whole
    return json.loads(json.dumps(run.as_json()))


def test_the_charts_are_well_formed_and_hold_every_series(results):
    drawn = page.drawings(results)
    for drawing in drawn.values():
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
        assert "prefers-color-scheme: dark" in drawing
    latency = ElementTree.fromstring(drawn["latency.svg"])
    assert len(latency.findall(".//{*}circle")) == sum(map(len, results["samples"].values()))
    assert all(name in drawn["history.svg"] for name in page.CURVES.values())


def test_names_with_angle_brackets_do_not_break_a_chart():
    drawn = charts.lines("a < b & c", {"<one>": [(1, 1.0), (10, 1.0)]}, "x", "y")
    assert "a < b & c" in "".join(ElementTree.fromstring(drawn).itertext())


def test_the_page_holds_every_row_and_says_where_it_was_made(results, tmp_path):
    results["rows"][0]["value"] = 100.0
    page.write(results, tmp_path / "benchmarks.md")
    text = (tmp_path / "benchmarks.md").read_text()
    for row in results["rows"]:
        assert text.count(f"| {row['name']} |") == 1, row["key"]
    made = results["made"]
    assert made["commit"] in text and made["python"] in text and f"{made['cores']} cores" in text
    assert "**missed**" in text and f"- {results['rows'][0]['name']}: 100 ms" in text
    assert str(Path.home()) not in text and str(ROOT) not in text
    for name in ("latency.svg", "history.svg"):
        assert f"(benchmarks/{name})" in text and (tmp_path / "benchmarks" / name).exists()


def test_a_part_of_the_rows_makes_no_page(results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(program, "RESULTS", tmp_path / "results.json")
    run = program.Run(FULL)
    run.rows = [Row.from_json(results["rows"][0])]
    program.report(run, ["commands"])
    assert (tmp_path / "results.json").exists() and not (tmp_path / "page.md").exists()
    capsys.readouterr()
