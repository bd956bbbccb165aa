from tests import kit
from thrum import __version__
from thrum.caller import Claim


def test_health_says_who_answers_and_how_the_sync_stands(ann, engine):
    shown = ann("health")
    assert shown["status"] == "ok" and shown["version"] == __version__ and shown["uptime_ms"] >= 0
    assert shown["repo_id"] == engine.repository_id() and shown["sync_state"]


def test_health_needs_no_identity(engine):
    assert engine.call("health", {}, Claim())["status"] == "ok"


def test_clones_of_one_remote_share_a_repository_id(clones):
    engines = [kit.set_up(path) for path in clones(2)]
    assert len({engine.repository_id() for engine in engines}) == 1
    assert len({engine.origin for engine in engines}) == 2
    for engine in engines:
        engine.close()
