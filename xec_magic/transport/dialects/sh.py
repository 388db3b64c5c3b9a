"""Sessions of dash, and of `sh` whatever it is.

Such a shell cannot write its functions down. Where an error would end it, it runs its EXIT trap, and a copy of it goes on from
there as its child, while it waits itself: variables, functions and directory survive, `$$` stays the number of the first one.
"""

from __future__ import annotations

from typing import Final

from xec_magic.transport.dialects.base import Order, Slots, Start, filled, one_line, quoted

__all__ = ["SH", "Sh"]

_STREAMS: Final = "<@in@ >@out@ 2>@err@ 9>&- 8<&-"

# Orders lie in a file, since `read` knows lines only; a line says that there is one. The inner loop is what `break` and `continue`
# of a script find around it: they end the script, and nothing else. A function named `command` lasts as long as its script: by it
# `read` would get no order, and the same one would run again and again.
_LOOP: Final = one_line(r"""
while IFS= command read -r __xec_busy <&8; do
%FETCH%
__xec_was=$-;
for __xec_once in 1; do . @order@; done;
__xec_code=$?; unset -f command; case ${__xec_aliased+x}${__xec_onexit+x} in ?*) . @onexit@ ;; esac;
command echo "s $__xec_code" >&9;
. @after@;
__xec_busy=; done
""")

_SERVER: Final = one_line(rf"""
exec 9>@ctl@ 8<@feed@; __xec_busy=; __xec_self=$$; . @trap@; . @rc@;
trap '\exit 130' INT; trap '\exit 143' TERM; trap '. @end@' EXIT;
echo "r $$" >&9;
{_LOOP}
""")

# Only `exit` ends the session, where the script itself names it. A failure runs the same EXIT trap, so an alias notes which of the two
# it was. On the script's own line, which counts for `$LINENO` where `sh` is bash. The order's second letter is `m` for such a script,
# and `x` for one in which there can be no alias: any end of it is then taken for an `exit`.
_MARK: Final = (
    b"if alias exit >/dev/null 2>&1; then __xec_exit=1; else __xec_marks=1; alias exit='__xec_exit=1 exit'; fi; "
)
_UNMARK: Final = "case ${__xec_marks+x} in x) command unalias exit || :; unset __xec_marks ;; esac; unset __xec_exit"

_AFTER: Final = (
    _UNMARK
    + r"""
case $__xec_busy in
s*) case $__xec_was in *e*) ;; *) set +e ;; esac; case $__xec_was in *u*) ;; *) set +u ;; esac ;;
esac
if [ -n "${__xec_from-}" ] && [ "$PWD" = "$__xec_to" ]; then command cd -- "$__xec_from" || :; fi
unset __xec_from __xec_to
"""
)

_WHO: Final = (
    "if [ -r /proc/self/stat ]; then IFS=' ' command read -r __xec_pid __xec_rest </proc/self/stat; "
    "else __xec_pid=$(exec sh -c 'echo $PPID'); fi"
)

# In a subshell a trap is the subshell's. What is one operand, or begins with a number, resets.
_TRAP: Final = rf"""
__xec_trap() {{
  case $# in 0) \trap; return ;; esac
  case $1 in --) shift ;; -?*) \trap "$@"; return ;; esac
  case $# in
  0) \trap; return ;;
  1) __xec_do=- ;;
  *) case $1 in *[!0-9]* | '') __xec_do=$1; shift ;; *) __xec_do=- ;; esac ;;
  esac
  {_WHO}
  case $__xec_pid in "$__xec_self") ;; *) \trap -- "$__xec_do" "$@"; return ;; esac
  __xec_bad=0
  for __xec_one do
    case $__xec_one in
    EXIT | exit | 0) case $__xec_do in -) unset __xec_onexit ;; *) __xec_onexit=$__xec_do ;; esac ;;
    *) \trap -- "$__xec_do" "$__xec_one" || __xec_bad=$? ;;
    esac
  done
  unset __xec_pid __xec_rest __xec_do __xec_one
  return "$__xec_bad"
}}
"""

# At the end of a script: its trap, which sees how the script ended.
_ONEXIT: Final = rf"""
case ${{__xec_aliased+x}} in x) unset __xec_aliased; unalias trap ;; esac
case ${{__xec_onexit+x}} in x)
  __xec_text=$__xec_onexit; unset __xec_onexit
  if (exit "$__xec_code"); then \eval "$__xec_text" {_STREAMS}; else \eval "$__xec_text" {_STREAMS}; fi ;;
esac
"""

# The script's trap runs in a subshell where the session lives on: a failure in it must not end this. Where `sh` is bash, a member of
# a pipe that an expansion ends runs this as well, in a process of its own.
_END: Final = rf"""
__xec_code=$?; unset -f command
if [ -n "$__xec_busy" ] && [ "${{BASHPID-$__xec_self}}" = "$__xec_self" ]; then
  exec 9>@ctl@ 8<@feed@ </dev/null >/dev/null 2>&1
  case $__xec_busy${{__xec_exit+e}} in
  *x* | *me) . @onexit@ ;;
  *)
    __xec_flags=$-; set +e
    case ${{__xec_aliased+x}}${{__xec_onexit+x}} in ?*)
      (case $__xec_flags in *e*) set -e ;; esac; . @onexit@; exit "$__xec_code")
      __xec_code=$?
      unset __xec_onexit
      case ${{__xec_aliased+x}} in x) unset __xec_aliased; unalias trap ;; esac ;;
    esac
    \trap '' INT TERM
    (
      case $__xec_flags in *e*) set -e ;; esac
      case $__xec_was in *e*) ;; *) set +e ;; esac
      case $__xec_was in *u*) ;; *) set +u ;; esac
      {_UNMARK}
      . @undo@
      \trap '\exit 130' INT; \trap '\exit 143' TERM; \trap '. @end@' EXIT
      {_WHO}
      __xec_busy= __xec_self=$__xec_pid
      command echo "k $__xec_code $__xec_pid" >&9
      unset __xec_pid __xec_rest
      {_LOOP}
    )
    exit "$?"
    ;;
  esac
fi
"""


class Sh:
    """See `Dialect`."""

    name = "sh"
    control_fd = 9
    fetch = ""  # what the shell does to get an order that does not lie there already

    def start(self, shell: tuple[str, ...], names: Slots, *, login: bool, rc: str, here: bool = True) -> Start:  # noqa: ARG002
        """See `Dialect`."""
        names.write("rc", rc.encode("utf-8", "surrogateescape") + b"\n")
        names.write("order", b"")
        names.write("undo", b"")
        names.write("after", _AFTER.encode())
        names.write("trap", _TRAP.encode())
        names.write("onexit", filled(_ONEXIT, names))
        names.write("end", filled(_END.replace("%FETCH%", self.fetch), names))
        argv = (part.encode("utf-8", "surrogateescape") for part in shell)
        return Start(
            (*argv, *((b"-l",) if login else ()), b"-c", filled(_SERVER.replace("%FETCH%", self.fetch), names)), {}
        )

    def plain(self, order: Order) -> bytes | None:  # noqa: ARG002 - its orders lie in a file
        """See `Dialect`."""
        return None

    def order(self, order: Order, names: Slots) -> bytes:
        """See `Dialect`."""
        streams = filled(_STREAMS, names)
        before, after = b"", b""
        own = order.defines_own_words()
        for name, value in order.env:
            variable = name.encode()
            before += b"__xec_old_%s=${%s-} __xec_set_%s=${%s+x}; export %s=%s\n" % (*[variable] * 5, quoted(value))
            after += (
                b'if [ -n "$__xec_set_%s" ]; then %s=$__xec_old_%s; else unset %s; fi; unset __xec_old_%s __xec_set_%s\n'
                % ((variable,) * 6)
            )
        # A script that begins with a dash is no option, where `sh` is bash.
        run = b"\\eval %s %s\n" % (quoted(b" " * order.script.startswith(b"-") + order.script), streams)
        if order.may_exit() and not own:
            run = _MARK + run
        if order.may_trap_exit() and not own:
            before += b"__xec_aliased=1; alias trap=__xec_trap\n"
            run += filled('__xec_code=$?; . @onexit@; (exit "$__xec_code")\n', names)
        if order.cwd:
            go = b"__xec_from=$PWD; if command cd -- %s %s; then __xec_to=$PWD\n" % (
                quoted(order.cwd),
                filled("2>@err@", names),
            )
            run = go + run + b"else (exit 1); fi\n"
        # Where the command is fatal, what comes behind it here is not reached, and the copy of the shell has to do it.
        names.write("undo", after)
        if after:
            run += b"__xec_code=$?\n" + after + b'(exit "$__xec_code")\n'
        names.write("order", before + run)
        ends = b"" if not order.may_exit() else b"x" if own else b"m"
        return (b"s" if order.strict else b"p") + ends + b"\n"

    def ping(self, number: int, names: Slots) -> bytes:
        """See `Dialect`."""
        names.write("undo", b"")
        names.write("order", b'command echo "y %d" >&9\n' % number)
        return b"p\n"


SH: Final = Sh()
