"""What a start-up text has done to a shell, written down: reading it takes milliseconds where the text itself takes seconds.

Only what the text has changed is kept: what else a shell knows, it has from its own environment and directory. What cannot be
written down are descriptors that the text has opened, and its background processes, which live on without the shells knowing them.
"""

from __future__ import annotations

import shlex
from typing import Final

__all__ = ["END_MARK", "snapshot_script"]

END_MARK: Final = "# end"  # the last line of a snapshot that is complete

# Such a variable belongs to one shell, or changes by itself.
_OWN: Final = (
    "BASH*|COMP_*|DIRSTACK|EPOCH*|EUID|FUNCNAME|GROUPS|HISTCMD|LINENO|OLDPWD|PIPESTATUS|PPID|PWD|RANDOM|SECONDS|SHELLOPTS|SHLVL|"
    "SRANDOM|UID|XEC_RUN_ID|_|__xec_*"
)

_SCRIPT: Final = r"""
"$BASH" -n @text@ || exit
declare -A __xec_before=()
__xec_names() { compgen -v | while read -r __xec_name; do case $__xec_name in @own@) ;; *) printf '%s\n' "$__xec_name" ;; esac; done; }
for __xec_name in $(__xec_names); do __xec_before[$__xec_name]=$(declare -p "$__xec_name" 2>/dev/null); done
__xec_where=$PWD
. @text@
{
  shopt -p
  for __xec_name in $(__xec_names); do
    __xec_now=$(declare -p "$__xec_name" 2>/dev/null)
    [[ $__xec_now == "${__xec_before[$__xec_name]-}" ]] || printf '%s\n' "$__xec_now"
    unset -v "__xec_before[$__xec_name]"
  done
  for __xec_name in "${!__xec_before[@]}"; do printf 'unset -v %q\n' "$__xec_name"; done
  unset -f __xec_names
  declare -f
  declare -F
  [[ $PWD == "$__xec_where" ]] || printf 'cd -- %q\n' "$PWD"
  printf 'umask %s\n' "$(umask)"
  trap -p
  alias -p
  set +o
  echo '@end@'
} >|@file@ 2>/dev/null
"""


def snapshot_script(text: str, file: str) -> str:
    """A bash script that runs the start-up text in one file and writes down in another what it has done.

    Args:
        text: Path of the text.
        file: Path of the snapshot. It is complete when its last line is `END_MARK`.
    """
    filled = _SCRIPT.replace("@own@", _OWN).replace("@end@", END_MARK)
    return filled.replace("@text@", shlex.quote(text)).replace("@file@", shlex.quote(file))
