"""`python -m tests.fuzz TARGET [seconds]`: atheris on one target, guided by what of thrum it reaches. Without a target: all."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time

SECONDS = 60


def main(words):
    """Fuzzes; 1 when something was found, which is then in a file `crash-*` of the present directory."""
    try:
        import atheris
    except ImportError:
        print(
            "atheris is not installed: pip install 'git-thrum[fuzz]' (Python 3.11 to 3.13 on Linux); nothing was fuzzed"
        )
        return 0
    with atheris.instrument_imports(include=["thrum"]):
        from tests.fuzz.targets import TARGETS
    if not words:
        each = [subprocess.run([sys.executable, "-m", "tests.fuzz", name], check=False).returncode for name in TARGETS]
        return int(any(each))
    name, seconds = words[0], int(words[1]) if len(words) > 1 else SECONDS
    if name not in TARGETS:
        print(f"there is no target {name}; there are {', '.join(TARGETS)}")
        return 2
    _fuzz(atheris, name, TARGETS[name], seconds)
    return 0


def _fuzz(atheris, name, target, seconds):
    """Does not return: libFuzzer ends the process."""
    corpus = tempfile.mkdtemp(prefix="thrum-corpus-")
    _write_seeds(corpus, name)
    print(f"fuzzing {name} for {seconds} s since {time.strftime('%H:%M:%S')}", flush=True)
    limits = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *limits, f"-dict={_write_words(corpus)}", corpus], target)
    atheris.Fuzz()


def _write_seeds(corpus, name):
    from tests.fuzz.seeds import SEEDS

    for number, seed in enumerate(SEEDS[name]):
        with open(f"{corpus}/{number}", "wb") as file:
            file.write(seed)


def _write_words(corpus):
    from tests.fuzz.seeds import TOKENS

    path = f"{corpus}.words"
    with open(path, "w") as file:
        for token in TOKENS:
            file.write('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n')
    return path


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        os.environ.setdefault("HOME", tempfile.gettempdir())
        raise SystemExit(main(sys.argv[1:]))
