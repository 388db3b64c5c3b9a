"""Sessions of bash.

What would end the shell (a failure under `set -e`, an unset variable under `set -u`, `${x?}`, an `exec` that fails, an interrupt)
runs its EXIT trap first. There the shell writes down its state and replaces itself by a new one, which reads it back: variables,
functions, directory, options, traps, open descriptors survive, in a process with the same number. Background jobs live on, but
`jobs` and `wait` no longer know them.
"""

from __future__ import annotations

import re
import shutil
from functools import lru_cache
from typing import Final

from xec_magic.transport.dialects.base import Order, Slots, Start, filled, one_line, quoted

__all__ = ["BASH", "DONE", "STATE", "order_of"]

INLINE_BYTES: Final = 160  # bash reads orders byte by byte; a longer script comes by a file

# Not 60 to 63, which bash gives to a coprocess: these are free for a script, and it would be left with ours, and close them at its end.
_STREAMS: Final = "<@in@ >@out@ 2>@err@ 52>&- 53<&-"

# What begins each strict script. Changing options takes bash as long as all the rest, so they stay for the next strict script.
_PRELUDE: Final = b"set -eu; shopt -s inherit_errexit 2>/dev/null || :; "
_PIPEFAIL: Final = b"set -o pipefail; "  # of those that have pipes and are not understood
_WAS: Final = "__xec_was=:$SHELLOPTS:$BASHOPTS:"
_LENIENT: Final = "; ".join(
    f"[[ $__xec_was == *:{option}:* ]] || {undo}"
    for option, undo in (
        ("errexit", "\\builtin set +e"),
        ("nounset", "\\builtin set +u"),
        ("pipefail", "\\builtin set +o pipefail"),
        ("inherit_errexit", "\\builtin shopt -u inherit_errexit"),
    )
)
# One line, so that a script's first line is line 1 for the shell as well. It is what `mapfile` calls for each third NUL that comes,
# and no loop: `break` and `continue` of a script must not find one around it. `#` hides what mapfile puts behind it. It is parsed
# each time, and what it says is done each time, so it is short.
# An order is a letter, NUL, a text, NUL, NUL: `p` a script, `s` a strict one, `q` and `t` the same by the file of scripts, `x` a text
# that does by itself all that is in the lines below. No two differ by their case alone, for which `nocasematch` has no eye. The letter
# and the text are the last in the array then; between orders it holds one word at most. `__xec_next` is the pattern of an order that is like the one before it: its letter, and the shell's flags.
# The answer is redirected by itself, in no group: what a DEBUG trap prints must not get among the frames.
_TEXT: Final = r'\builtin eval -- "${__xec_orders[-1]}"'
# Behind `!`, where a trap on ERR does not hear of what it has heard of within already.
_SCRIPT: Final = "! %s"
_CODE: Final = "${PIPESTATUS[0]}"
_ANSWER: Final = r'\builtin echo "s %s" >&52'
# A syntax error within `[[ ]]` makes the next `[[` one as well, also where that is one of the lines here, unless there is another
# one between. So after code 2, which is that of syntax errors, there is one on purpose, and always after what reads texts of its own
# (`eval`, `source`) and may have gone on behind one. Under `set -e` it would end the shell, `||` or not.
_RESET: Final = (
    r"case $- in *e*) \builtin set +e; \builtin command eval ')' 2>/dev/null || :; \builtin set -e ;; "
    r"*) \builtin command eval ')' 2>/dev/null || : ;; esac"
)
_ANEW: Final = rf"[[ $_ != s\ 2 ]] || {_RESET}"
DONE: Final = f"{_ANSWER % '$__xec_code'}; {_RESET}; . @after@"  # at the end of an order that does all by itself
_EACH: Final = one_line(rf"""
if [[ ${{__xec_orders[-2]}}$- == $__xec_next ]] || . @turn@; then {_SCRIPT % _TEXT} {_STREAMS}; {_ANSWER % _CODE}; {_ANEW}; else {_TEXT}; fi;
__xec_orders=(); #
""")
# Here the shell's own stderr is `/dev/null`, open for reading, and stands for that: to open it by name takes as long as `echo`.
_NULL: Final = "exec 2</dev/null\n"
_SERVER: Final = "\\builtin mapfile -d '' -t -c 3 -C {} -u 53 __xec_orders"
_BUSY: Final = "${#__xec_orders[@]} -gt 1"

# Before an order that is not like the one before it. It gives whether the text is a script.
_TURN: Final = rf"""
if [[ ${{__xec_orders[-2]}} == [qt] ]]; then
  IFS= \builtin read -r -d '' __xec_text <@script@
  __xec_orders=("${{__xec_orders[-2]}}" "$__xec_text")
  \builtin unset -v __xec_text
fi
if [[ ${{__xec_orders[-2]}} == [st] ]]; then
  if [[ $__xec_next == p* ]]; then {_WAS}; fi
  [[ $__xec_was == *:pipefail:* ]] || \builtin set +o pipefail
  \builtin set -eu
  \builtin shopt -s inherit_errexit
  __xec_next=s$-
  if [[ ${{__xec_orders[-1]}} == 'set -o pipefail;'* ]]; then __xec_next=-; fi
elif [[ $__xec_next != p* ]]; then
  {_LENIENT}
  __xec_next=p*
fi
[[ ${{__xec_orders[-2]}} != x ]]
"""

# The command is answered by now: what fails here must not end the shell under `set -e`, its last word would count for the next one.
_AFTER: Final = rf"""
if [[ ${{__xec_strict-}} ]]; then {_LENIENT}; fi
__xec_next=p*
if [[ ${{__xec_own-}} ]]; then
  \builtin unset -f "${{__xec_own[@]}}"
fi
if [[ ${{__xec_from-}} && $PWD == "$__xec_to" ]]; then \builtin cd -- "$__xec_from" || :; fi
if [[ ${{__xec_names-}} ]]; then
  \builtin unset -v "${{__xec_names[@]}}" || :
  \builtin eval "${{__xec_old-}}" || :
fi
\builtin unset -v __xec_own __xec_from __xec_to __xec_strict __xec_trap __xec_exit __xec_names __xec_old __xec_text __xec_code __xec_flags
"""

# A script may make functions of the words that the lines here are made of; they are gone when it is over. In POSIX mode `unset`
# comes before functions. Leaving that mode changes these two options.
_GENUINE: Final = r"""
if [[ ${POSIXLY_CORRECT+x} ]]; then
  \unset -f builtin eval
else
  __xec_opts=:$BASHOPTS: POSIXLY_CORRECT=1
  \unset -f builtin eval
  \unset -v POSIXLY_CORRECT
  [[ $__xec_opts != *:expand_aliases:* ]] || \builtin shopt -s expand_aliases
  [[ $__xec_opts == *:inherit_errexit:* ]] || \builtin shopt -u inherit_errexit 2>/dev/null
  \builtin unset -v __xec_opts
fi
"""
_TIMES: Final = re.compile(rb"\btime\b")
_TAKES_OURS: Final = re.compile(rb"\bfunction\s+(?:builtin|eval)\b|\b(?:builtin|eval)\s*\(\s*\)")

# The script's trap on EXIT, with the code in `$?`. Here and below nothing fails outside of a condition: a trap on ERR would hear of it.
_RUN_TRAP: Final = rf'! \builtin eval -- "$__xec_text" {_STREAMS}'
_TRAPPED: Final = f'if __xec_is "$__xec_code"; then {_RUN_TRAP}; else {_RUN_TRAP}; fi'

# Traps that a script has taken back by way of our function, where bash would set them once more at the function's end.
_FORGET: Final = (
    r"if [[ ${__xec_gone+x} ]]; then "
    r"""for __xec_one in "${__xec_gone[@]}"; do if [[ $(\builtin trap -p "$__xec_one") == "trap -- '' "* ]]; then \builtin trap - "$__xec_one"; fi; done; """
    r"\builtin unset -v __xec_gone __xec_one; fi; "
)

# What the shell's own trap on EXIT does. The script's is evaluated here, and in no file: bash would name that in what it says of it.
_AT_EXIT: Final = f"__xec_code=$?; . @end@; if [[ ${{__xec_ends-}} ]]; then if [[ ${{__xec_text+x}} ]]; then {_TRAPPED}; fi; {_FORGET}. @over@; fi"
_SET_TRAP: Final = f"\\builtin trap {quoted(_AT_EXIT).decode()} EXIT"
_LISTED: Final = re.sub(r'([\\"$`])', r"\\\1", f"trap -- {quoted(_AT_EXIT).decode()} EXIT")  # as `trap -p` shows it

# A shell that may not open the descriptors (`ulimit -n`) ends before it has the trap by which it would begin once more.
_BEGIN: Final = r"""
exec 52>@ctl@ 53<@feed@ || \builtin exit "${__xec_back-}"
__xec_is() { \builtin return "$1"; }
__xec_next=p*
if [[ ${__xec_back-} ]]; then
  \builtin unset -v BASH_ENV
  . @state@ >/dev/null 2>&1
  %SET_TRAP%
  \builtin echo "k $__xec_back $$" >&52
  if [[ ${__xec_orders[-2]} == [st] ]]; then __xec_strict=1; fi
  . @after@
  \builtin unset -v __xec_back __xec_code __xec_options
  __xec_orders=()
else
  if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then \builtin echo "v $BASH_VERSION" >&52; \builtin exit; fi
  . @rc@
  __xec_orders=()
  %SET_TRAP%
  \builtin echo "r $$" >&52
fi
""".replace("%SET_TRAP%", _SET_TRAP)

# In the EXIT trap. A signal that we have not sent leaves $? at 0, and ends the shell as it wants to. A member of a pipe that an
# expansion ends (`echo $((1/0)) | cat`) runs this trap as well, in a process of its own that is no subshell.
_END: Final = r"""
{ __xec_flags=$-; \builtin set +x; } 2>/dev/null || :
__xec_ends=
if [[ @busy@ && $BASH_SUBSHELL == 0 && ${BASHPID-$$} == $$ ]]; then
  . @genuine@
  { __xec_options=$(\builtin set +o); \builtin set +eETuv; } 2>/dev/null
  [[ ${__xec_flags-} != *x* ]] || __xec_options+=$'\nset -x'
  \builtin unset -f "${__xec_own[@]}"
  \builtin unset -v __xec_text
  if [[ ${__xec_trap+x} ]]; then __xec_text=$__xec_trap; \builtin unset -v __xec_trap; fi
  __xec_ends=1
fi
"""

# Behind that: the shell goes on in a new one, or ends. In POSIX mode, which the environment may hand on, bash does not look at BASH_ENV, nor
# take a function named `a-b`: so it comes back last of all.
_OVER: Final = r"""
exec 52>@ctl@ </dev/null >/dev/null 2>&1
IFS= \builtin read -r -d '' __xec_sent <@sent@ || :
if [[ ${__xec_exit+x} ]]; then
  \builtin echo "x $__xec_code" >&52
elif [[ $__xec_code != 0 || $__xec_sent ]]; then
  if [[ ${FUNCNAME-} ]]; then
    __xec_bare() { \builtin unset -v "$1"; }
    while \builtin read -r _ _ __xec_local; do __xec_bare "${__xec_local%%=*}"; done < <(\builtin local -p)
    \builtin unset -f __xec_bare
  fi
  for __xec_local in "${__xec_names[@]}"; do \builtin unset -v "$__xec_local"; done
  \builtin unset -v __xec_local __xec_text __xec_ends
  if [[ ${POSIXLY_CORRECT+x} ]]; then
    __xec_options+=$'\n\\builtin '$(\builtin declare -p POSIXLY_CORRECT)$'\n'$(\builtin shopt -p expand_aliases inherit_errexit)
    \builtin set +o posix
  fi
  \builtin eval "$(<@dump@)" >|@state@
  \builtin trap '' INT TERM; \builtin trap - INT TERM
  BASH_ENV=@begin@ __xec_back=$__xec_code \builtin exec @exec@ -c "$(<@server@)" <@feed@
fi
"""

# Prints what a new shell must read to be as this one. `declare -F` says which functions are exported; aliases come last, since
# they must not be replaced in functions once more.
STATE: Final = r"""
\builtin shopt -p
\builtin declare -p
\builtin declare -f
\builtin declare -F
\builtin printf 'set --'; (($#)) && \builtin printf ' %q' "$@"; \builtin printf '\n'
for ((__xec_i = ${#DIRSTACK[@]} - 1; __xec_i > 0; __xec_i--)); do \builtin printf 'pushd -n -- %q\n' "${DIRSTACK[__xec_i]}"; done
\builtin printf '%s\n' "${__xec_old-}"
\builtin trap -p
\builtin alias -p
\builtin printf '%s\n' "${__xec_options:-$(\builtin set +o)}"
"""

# Not where a function of the user's has that name, nor in POSIX mode, in which no function may.
_OWN: Final = (
    r"""[[ :$SHELLOPTS: == *:posix:* ]] || \builtin declare -F {} >/dev/null || {{ {}; __xec_own+=({}); }}; """
)
# Not `${@-…}`, of which bash makes an empty word where IFS begins with byte 1.
_EXIT: Final = r"""\builtin eval 'exit() { __xec_exit=$?; \builtin exit "${1-$__xec_exit}" "${@:2}"; }'"""

# A trap on EXIT runs at the end of the script, as in a shell of its own; the shell's own EXIT trap stays in its place, and in no list.
# One operand, or a number of a signal in front, takes back all that are named.
# No `return` on the way of what sets traps: in the EXIT trap of a subshell that a failure ends, it would end that trap, by a fault of bash.
_TRAP: Final = r"""
trap() {
  if [[ $# == 0 || $1 == -p ]]; then
    \builtin local __xec_all __xec_one=
    [[ ! ${__xec_trap+x} ]] || __xec_one="trap -- ${__xec_trap@Q} EXIT"$'\n'
    __xec_all=$(\builtin trap "${@:--p}" && \builtin printf x) || \builtin return
    __xec_all=${__xec_all/"%LISTED%"$'\n'/"$__xec_one"}
    for __xec_one in "${__xec_gone[@]}"; do __xec_all=${__xec_all/"trap -- '' $__xec_one"$'\n'}; done
    \builtin printf %s "${__xec_all%x}"
    \builtin return
  fi
  if [[ $BASH_SUBSHELL == 0 && ($# == 1 || $1$# == --2) && ${@: -1} == @(EXIT|exit|0|SIGEXIT|sigexit) ]]; then
    \builtin unset -v __xec_trap
  elif [[ $BASH_SUBSHELL != 0 || $# -lt 2 || $1 == -[lp]* ]]; then
    \builtin trap "$@"
  else
    [[ $1 != -- ]] || \builtin shift
    \builtin local __xec_do __xec_one __xec_rest
    __xec_do=- __xec_rest=()
    [[ $# == 1 || ($1 == +([0-9]) && 10#$1 -le 64) ]] || { __xec_do=$1; \builtin shift; }
    for __xec_one; do
      case ${__xec_one^^} in
        EXIT|0|SIGEXIT) if [[ $__xec_do == - ]]; then \builtin unset -v __xec_trap; else __xec_trap=$__xec_do; fi ;;
        ERR|DEBUG|RETURN)
          if [[ $__xec_do == - ]]; then __xec_gone+=("${__xec_one^^}"); \builtin trap '' "$__xec_one"; else __xec_rest+=("$__xec_one"); fi ;;
        *) __xec_rest+=("$__xec_one") ;;
      esac
    done
    [[ ${#__xec_rest[@]} == 0 ]] || \builtin trap -- "$__xec_do" "${__xec_rest[@]}"
  fi
}
""".replace("%LISTED%", _LISTED)
_AT_END: Final = (
    r"""if [[ ${__xec_trap+x} ]]; then __xec_text=$__xec_trap; \builtin unset -v __xec_trap; \builtin unset -f "${__xec_own[@]}"; """
    f"{_TRAPPED}; fi; {_FORGET}"
)


def order_of(letter: bytes, text: bytes = b"") -> bytes:
    """What the shell reads as one order."""
    return b"%s\0%s\0\0" % (letter, text)


@lru_cache(maxsize=64)
def _simple(order: Order) -> bytes | None:
    """The script of an order that needs nothing around it; None for others."""
    if (
        order.fed
        or order.env
        or order.cwd
        or order.may_exit()
        or order.may_trap_exit()
        or order.may_list_traps()
        or _TAKES_OURS.search(order.script)
        or _TIMES.search(order.script)
        or order.reads_texts()
    ):
        return None
    if b"BASH_EXECUTION_STRING" in order.script:  # to set it for each takes longer than to read the order
        return None
    return order.script.replace(_PRELUDE, b"", 1) if order.strict else order.script


class _Bash:
    """See `Dialect`."""

    name = "bash"
    control_fd = 52

    def start(self, shell: tuple[str, ...], names: Slots, *, login: bool, rc: str, here: bool = True) -> Start:
        """See `Dialect`."""
        program = quoted(shutil.which(shell[0]) or shell[0]) if here else b'"$BASH"'
        again = b" ".join([b"-a", quoted(shell[0]), program, *map(quoted, shell[1:])])
        each = _EACH.replace("<@in@", "<&2") if here else _EACH
        server = _SERVER.encode().replace(b"{}", quoted(filled(each, names)))
        forget = b"\\builtin unset -v BASH_ENV; " if rc else b""
        names.write("rc", forget + rc.encode("utf-8", "surrogateescape") + b"\n")
        names.write("after", filled(_AFTER, names))
        names.write("turn", filled(_TURN, names))
        names.write("script", b"")
        names.write("dump", STATE.encode())
        names.write("state", b"")
        names.write("sent", b"")
        names.write("genuine", _GENUINE.encode())
        names.write("traps", filled(_TRAP, names))
        names.write("server", server)
        names.write("begin", filled(_BEGIN + _NULL if here else _BEGIN, names))
        names.write("end", filled(_END.replace("@busy@", _BUSY), names))
        names.write("over", filled(_OVER.replace("@exec@", "\0"), names).replace(b"\0", again))
        argv = (
            *(part.encode("utf-8", "surrogateescape") for part in shell),
            *((b"-l",) if login else ()),
            b"-c",
            filled(". @begin@; ", names) + server,
        )
        # A start-up text stands for the file that this variable names, as it does for other commands.
        return Start(argv, {b"BASH_ENV": b""} if rc else {})

    def plain(self, order: Order) -> bytes | None:
        """See `Dialect`."""
        simple = _simple(order)
        if simple is None or len(simple) > INLINE_BYTES or simple.startswith(_PIPEFAIL):
            return None
        return order_of(b"s" if order.strict else b"p", simple)

    def order(self, order: Order, names: Slots) -> bytes:
        """See `Dialect`."""
        plain, simple = self.plain(order), _simple(order)
        if plain is not None:
            return plain
        if simple is not None:
            names.write("script", simple + b"\0")
            return order_of(b"t" if order.strict else b"q")
        names.write("script", order.script + b"\0")
        # Where the variable cannot be set (`readonly`, or `declare -u`, which changes it), the script must run all the same, and no other one.
        words = [
            f"IFS= \\builtin read -r -d '' '__xec_orders[-1]' <{names.path('script')}; ".encode(),
            b'\\builtin printf -v BASH_EXECUTION_STRING %s "${__xec_orders[-1]}" || :; ',
        ]
        if order.strict:
            words.append(b"__xec_strict=1; %s; " % _WAS.encode())
        exits, traps = order.may_exit(), order.may_trap_exit()
        takes_ours = _TAKES_OURS.search(order.script) is not None
        own = (
            []
            if order.defines_own_words()
            else [b"exit"] * (exits and not takes_ours) + [b"trap"] * (traps or order.may_list_traps())
        )
        if own:
            words.append(b"__xec_own=(); ")
        if b"exit" in own:
            words.append(_OWN.format("exit", _EXIT, "exit").encode())
        if b"trap" in own:
            words.append(filled(_OWN.format("trap", ". @traps@", "trap"), names))
        run = _SCRIPT.encode() % _TEXT.encode()
        ended = b"__xec_code=%s; " % _CODE.encode()
        if traps or _TIMES.search(order.script):
            # In a group: where a failure ends the script, bash takes back what a builtin is redirected to, and only then does
            # the trap of a subshell run, and `time` print. In no group otherwise, since a trap on DEBUG would print into the output.
            words.append(b"__xec_code=1; ")
            run, ended = b"{ %s; %s}" % (run, ended), b""
        if order.env:
            # Set, and taken back by the lines at the end. In front of `eval` bash would have them for that alone, and complain in the
            # command's output, of a scope that is none, where a failure in a function ends the script.
            own_names = [name.encode() for name, _ in order.env]
            keep = rb"""[[ ! ${%s[@]+x} ]] || { __xec_old+="${%s[@]@A}"$'\n'; [[ ${%s@a} != *[aA]* ]] || \builtin unset -v %s; }; """
            words += [keep % ((name,) * 4) for name in own_names]
            words.append(b"__xec_names=(%s); " % b" ".join(own_names))
            words.append(filled("! \\builtin declare -F eval >/dev/null || . @genuine@; ", names))
            values = b" ".join(b"%s=%s" % (name.encode(), quoted(value)) for name, value in order.env)
            words.append(b"\\builtin export %s %s && " % (values, filled("2>@err@", names)))
        if order.cwd:
            words.append(
                b"__xec_from=$PWD; \\builtin cd -- %s %s && __xec_to=$PWD && "
                % (quoted(order.cwd), filled("2>@err@", names))
            )
        words += [run, filled(f" {_STREAMS}; ", names), ended]
        if takes_ours:
            words.append(filled(". @genuine@; ", names))
        if b"trap" in own:
            words.append(filled(_AT_END, names))
        words.append(filled(DONE, names))
        return order_of(b"x", b"".join(words))

    def ping(self, number: int, names: Slots) -> bytes:  # noqa: ARG002 - the other shells need them
        """See `Dialect`."""
        return order_of(b"x", b'\\builtin echo "y %d" >&52; %s' % (number, (_ANSWER % 0).encode()))


BASH: Final = _Bash()
