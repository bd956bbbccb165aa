"""From a plan's result to bytes and an exit code, and the daemon's end of `cli.run`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from thrum.caller import Claim
from thrum.cli import app
from thrum.cli.options import Options, guess
from thrum.cli.plan import Local, NeedsInputError, Next, Plan, Said, Style
from thrum.cli.text import safe
from thrum.core import clock
from thrum.door import ELSEWHERE
from thrum.errors import BadParams, DaemonError, ThrumError
from thrum.git import place

Json = dict[str, Any]
Execute = Callable[[str, Json, Claim], Awaitable[Any]]
WAIT = "message.wait"
_POSTS = ("message.send", "message.reply", "thread.create")
_ENDLESS = 100_000
_MOMENT = 0.05  # seconds; less than that is not worth another wait


class Output(NamedTuple):
    """What a command ends with. `after` is to be called once stdout has really been written."""

    stdout: str
    stderr: str
    exit: int
    after: Next | None = None


def compose(plan: Plan, options: Options, style: Style, result: Any) -> Output:
    """A result as output."""
    code, after = plan.exit_code(result), plan.after(result)
    if options.json:
        return Output(document(plan.shape(result)), "", code, after)
    return Output(plan.render(result, style), plan.complain(result, style), code, after)


def refuse(error: ThrumError, options: Options, *, is_wait: bool = False) -> Output:
    """A refusal as output: what happened, and what to do next."""
    code = 2 if is_wait else error.exit_code
    if options.json:
        return Output(document(error.as_json()), "", code)
    hint = f"\n  try: {safe(error.hint)}" if error.hint else ""
    return Output("", f"error: {safe(str(error))}{hint}\n", code)


def document(value: Any) -> str:
    """The one JSON document that `--json` prints."""
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def style_for(options: Options, environ: Mapping[str, str], tty: bool, width: int, now: int = 0) -> Style:
    """How to write for this reader; a pipe gets no colours and, unless COLUMNS says so, no line ends of ours."""
    color = tty and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Style(color, width or _ENDLESS, options.verbose, options.quiet, now or time.time_ns())


def claim_for(options: Options, cwd: str, environ: Mapping[str, str]) -> Claim:
    """Who the caller says it is."""
    own = {name: value for name, value in environ.items() if name.startswith("THRUM_")}
    return Claim(os.path.join(cwd, options.repo), options.name, options.role, options.module, own)


def numbered(plan: Plan, request: str) -> Plan:
    """The plan, what it posts under a request id: when a daemon dies over it, whoever tries again posts the same."""
    if not request or plan.method not in _POSTS or plan.params.get("request_id"):
        return plan
    return plan._replace(params={**plan.params, "request_id": request})


async def run_cli(params: Json, execute: Execute, common_dir: str = "") -> Json:
    """A thin client's command line: `{stdout, stderr, exit, deferred?}`, or `{declined}` for what needs its own process.

    `params`: argv, cwd, environ, tty, width, version, request?, now?. `common_dir`: the repository we answer for. Raises
    BadParams when they are no command line.
    """
    _check(params)
    argv, environ = list(params["argv"]), dict(params.get("environ", {}))
    cwd, began = str(params["cwd"]), time.perf_counter()
    try:
        meant, options = app.plan(argv, None, environ, cwd)
    except NeedsInputError:
        return {"declined": "stdin"}
    except ThrumError as error:
        return _sent(refuse(error, guess(argv)))
    if not isinstance(meant, Plan):
        return {"declined": "local" if isinstance(meant, Local) else "help"}
    claim = claim_for(options, cwd, environ)
    try:
        if common_dir:
            claim = claim._replace(place=place.find(claim.cwd))
            if claim.place is None or claim.place.common_dir != common_dir:
                return {"declined": ELSEWHERE}
        result = await _drive(numbered(meant, str(params.get("request") or "")), claim, execute)
    except DaemonError:
        return {"declined": "stopping"}
    except ThrumError as error:
        return _sent(refuse(error, options, is_wait=meant.method == WAIT))
    style = style_for(
        options, environ, bool(params.get("tty")), int(params.get("width") or 0), int(params.get("now") or 0)
    )
    output = with_timing(
        compose(meant, options, style, result), options, time.perf_counter() - began, "through the daemon"
    )
    answer = _sent(output)
    return {**answer, "deferred": [(*output.after, claim)]} if output.after else answer


def with_timing(output: Output, options: Options, seconds: float, where: str) -> Output:
    """With `--verbose`, how long it took."""
    if not options.verbose or options.json:
        return output
    return output._replace(stderr=f"{output.stderr}took {seconds * 1000:.1f} ms {where}\n")


def help_output(said: Said) -> Output:
    """A help page."""
    return Output(said.text, "", 0)


def _check(params: Json) -> None:
    """Raises BadParams for what no command line of ours sends; other programs speak here, too."""
    environ = params.get("environ", {})
    if not isinstance(params.get("argv"), list) or not all(map(_is_word, params["argv"])):
        raise BadParams("argv must be a list of texts")
    if not isinstance(environ, dict) or not all(map(_is_word, environ.values())):
        raise BadParams("environ must be an object of texts")
    for name in ("cwd", "request"):
        if not _is_word(params.get(name, "" if name == "request" else None)):
            raise BadParams(f"{name} must be a text")
    for name in ("width", "now"):
        value = params.get(name, 0)
        if type(value) is not int or not 0 <= value <= clock.LATEST:
            raise BadParams(f"{name} must be a whole number, 0 or more")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _sent(output: Output) -> Json:
    return {"stdout": output.stdout, "stderr": output.stderr, "exit": output.exit}


async def _drive(plan: Plan, claim: Claim, execute: Execute) -> Any:
    """Makes the plan's calls, one after another."""
    steps = plan.steps()
    try:
        step = next(steps)
        while True:
            try:
                answer = await _call(step, claim, execute)
            except ThrumError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value


async def _call(step: Next, claim: Claim, execute: Execute) -> Any:
    """One call; a wait that is longer than a method may wait is made again."""
    method, params = step
    if method != WAIT:
        return await execute(method, params, claim)
    end = time.monotonic() + float(params["timeout"])
    while True:
        left = max(end - time.monotonic(), 0.0)
        answer = await execute(method, {**params, "timeout": left}, claim)
        if answer.get("status") != "timeout" or end - time.monotonic() < _MOMENT:
            return answer
