"""Completion for shells, as typer does it, and for `git thrum` through git's own."""

from __future__ import annotations

from typing import Annotated

import typer

from thrum.cli.console import tell
from thrum.cli.plan import Local
from thrum.errors import UsageError

_BASH = """\
_git_thrum_words() {
  local IFS=$'\\n'
  COMPREPLY=( $(env COMP_WORDS="$1" COMP_CWORD="$2" _GIT_THRUM_COMPLETE=complete_bash git-thrum) )
}
_git_thrum() {
  local at="${__git_cmd_idx:-1}"
  _git_thrum_words "git-thrum ${words[*]:$((at + 1))}" "$((cword - at))"
}
_thrum_alone() {
  _git_thrum_words "git-thrum ${COMP_WORDS[*]:1}" "$COMP_CWORD"
}
complete -o default -F _thrum_alone git-thrum thrum
"""
_ZSH = """\
#compdef git-thrum thrum
_git-thrum() {
  eval $(env _TYPER_COMPLETE_ARGS="git-thrum ${words[2,$CURRENT]}" _GIT_THRUM_COMPLETE=complete_zsh git-thrum)
}
compdef _git-thrum git-thrum thrum
"""
_FISH = """\
function __git_thrum_words
  set -l line (string replace -r '^git thrum|^thrum' git-thrum (commandline -cp))
  env _GIT_THRUM_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="$line" git-thrum
end
complete -c git-thrum -f -a '(__git_thrum_words)'
complete -c thrum -f -a '(__git_thrum_words)'
complete -c git -n '__fish_seen_subcommand_from thrum' -f -a '(__git_thrum_words)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> Local:
    """eval "$(git thrum completion bash)" """
    if shell not in _SCRIPTS:
        raise UsageError(f"there is no completion for {shell!r}", "bash, zsh or fish")
    script = _SCRIPTS[shell]
    return Local(lambda options: tell(options, {"shell": shell, "script": script}, script, asked=True))
