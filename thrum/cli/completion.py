"""Completion for shells, as typer does it, and for `git thrum` through git's own."""

from __future__ import annotations

from typing import Annotated

import typer

from thrum.cli.console import tell
from thrum.cli.plan import Local
from thrum.errors import UsageError

_BASH = """\
__git_thrum_complete() {  # the command that answers, --, the words up to the cursor; bash makes words of their own of every @
  local command=() line=(git-thrum) at=1 word
  while [ "$1" != -- ]; do command+=("$1"); shift; done
  shift
  for word; do
    if [ "${line[at-1]}" = @ ]; then line[at-1]="@$word"; else line[at]=$word; at=$((at + 1)); fi
  done
  local IFS=$'\\n'
  COMPREPLY=( $(COMP_WORDS="${line[*]}" COMP_CWORD=$((at - 1)) _GIT_THRUM_COMPLETE=complete_bash "${command[@]}" 2>/dev/null) )
}
_git_thrum() {
  local at="${__git_cmd_idx:-1}"
  __git_thrum_complete git "${__git_C_args[@]}" thrum -- "${words[@]:at+1:cword-at}"
  COMPREPLY=( "${COMPREPLY[@]/%/ }" )
}
__git_thrum_alone() {
  __git_thrum_complete git-thrum -- "${COMP_WORDS[@]:1:COMP_CWORD}"
}
complete -o default -F __git_thrum_alone git-thrum thrum
"""
_ZSH = """\
#compdef git-thrum thrum
_git-thrum() {
  eval $(env _TYPER_COMPLETE_ARGS="git-thrum ${words[2,$CURRENT]}" _GIT_THRUM_COMPLETE=complete_zsh git-thrum 2>/dev/null)
}
compdef _git-thrum git-thrum thrum
"""
_FISH = """\
function __git_thrum_complete
  set -l line (string replace -r '^git( -C +\\S+| -\\S+)* thrum|^thrum' git-thrum (commandline -cp))
  env _GIT_THRUM_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="$line" git-thrum 2>/dev/null
end
complete -c git-thrum -f -a '(__git_thrum_complete)'
complete -c thrum -f -a '(__git_thrum_complete)'
complete -c git -n '__fish_seen_subcommand_from thrum' -f -a '(__git_thrum_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> Local:
    """eval "$(git thrum completion bash)" """
    if shell not in _SCRIPTS:
        raise UsageError(f"there is no completion for {shell!r}", "bash, zsh or fish")
    script = _SCRIPTS[shell]
    return Local(lambda options: tell(options, {"shell": shell, "script": script}, script, asked=True))
