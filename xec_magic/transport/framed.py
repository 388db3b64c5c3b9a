"""A batch as one script: its commands in one shell, with a frame between them on both streams.

A frame is a control character, a fresh mark of 128 bits, the number of the command that begins now, the exit code of
the one before, the clock where the shell has one, and a newline. No output holds the mark by chance. The text of the
script never holds it in one piece, so `ps`, `set`, `declare -f` and `set -x` in a command print no frame either.

The commands are words in quotes and reach the shell by `eval`, one by one: a syntax error, an open quote or an open
here-document ends with its own command. They can redirect the shell's streams until their own end only. What is ours
is read before the first of them runs, so that no alias changes it, and uses nothing that a function could replace.
Nothing runs that has not been announced on both streams first: a shell that cannot print any more ends instead.

A strict command that fails has to end without its shell, where further commands may run:

- bash: an ERR trap returns from functions, and goes on with the loop around the commands.
- zsh: `ERR_RETURN` does the same; what `${x?}` ends is over.
- sh: plain statements are joined by `&&` and go without `-e`; where another command fails, the shell ends.

What is fatal to every shell (an unset variable, `${x?}`) ends it in any case. A shell that ends hands its state to a
child in its EXIT trap, and the child goes on with the next command; not more than so often.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from xec_magic.command import decode_script, encode_script
from xec_magic.grammar import grammar_bytes, parse, understood, walk
from xec_magic.transport.dialects.base import READS_TEXTS
from xec_magic.transport.strict import HELPER, StrictParts, strict_parts

if TYPE_CHECKING:
    from tree_sitter import Node

    from xec_magic.plan import Batch
    from xec_magic.transport.shells import Family

__all__ = ["STOPPED", "frame_pattern", "framed_script"]

STOPPED: Final = 0  # the number in a frame behind which nothing more begins, since the command before it failed
GROUP: Final = 64
MOST_SHELLS: Final = 50  # one after the other, each waiting for the next, where commands end their shell


def frame_pattern(mark: str) -> re.Pattern[bytes]:
    """Finds a frame: the number of the command that begins, the exit code of the one before, the clock."""
    return re.compile(rb"\x1e%s:(\d+):(\d+):([\d.,]*)\n" % mark.encode())


def framed_script(batch: Batch, family: Family, *, strict: bool, ok_codes: frozenset[int], mark: str) -> str:
    """The script that runs a batch.

    Args:
        batch: The commands, and how they are run.
        family: Whose script it is; not `other`.
        strict: Each command stops at its first failure.
        ok_codes: Exit codes that count as success.
        mark: 32 hexadecimal digits that nobody knows.
    """
    assert family != "other"
    shell = _SHELLS[family]
    resumes = not batch.isolated and (batch.keep_going or ok_codes != {0})
    texts = [strict_parts(text, family) if strict else StrictParts(text) for text in batch.commands]
    values = {
        **shell,
        "FRAME": f"\\036{mark[:16]}''{mark[16:]}",
        "END": str(len(texts) + 1),
        "OK": "|".join(map(str, sorted(ok_codes))),
        "STOP": "" if batch.keep_going else f"__xec_n={STOPPED};",
        "ALIVE": _ALIVE if resumes else "",
        "OPTIONS": _TRACE if batch.isolated or not strict else shell["RESUMED"] if resumes else _STRICT,
        "FORKED": _STRICT if strict else _TRACE,
        "FORK": _FORK_UNHEARD if family == "bash" else _FORK,
        "EVAL": _EVAL_ONCE if _may_trap_failures(batch, family, strict) else _EVAL,
        "ANEW": _ANEW_ALWAYS if shell["ANEW"] and any(map(READS_TEXTS.search, batch.commands)) else shell["ANEW"],
        "ON_ERROR": _ON_ERROR if strict and family == "bash" else "",
    }

    def text(template: str) -> str:
        return _filled(template, values)

    def variable(name: str, template: str) -> str:
        return f"{name}={_word(text(template), family)}"

    words = list(_in_turn(texts, batch.isolated))
    if resumes and strict and family == "sh":
        words = _without_errexit(words)
    script = [
        *_commands(words, family),
        "__xec_i=0 __xec_s=0 __xec_d= __xec_f= __xec_b= __xec_x= __xec_e= __xec_q=",
        "shopt -s inherit_errexit 2>/dev/null || :" if strict and family == "bash" else "",
        shell["CLOCK"],
        HELPER.strip("; ") if any(one.helped for one in texts) else "",
        f"eval {_word(batch.prelude, family)}" if batch.prelude else "",
        text(_NEXT),
        variable("__xec_l", _FORKING if batch.isolated else _SHARED),
        variable("__xec_a", shell["AROUND"] if resumes else _AROUND),
        *([variable("__xec_h", _HAND_ON), text(shell["EXITS"]), text("@TRAPS@")] if resumes else []),
        r'\eval "$__xec_a"',
        text('@B@exit "${__xec_f:-0}"'),
    ]
    return "; ".join(filter(None, script))


def _may_trap_failures(batch: Batch, family: Family, strict: bool) -> bool:
    """A command may set a trap on ERR that outlives it, by the look of it; a strict shell of bash ends at once instead."""
    texts = (*batch.commands, batch.prelude)
    return family == "bash" and not strict and not batch.isolated and any("ERR" in text for text in texts)


def _commands(texts: Sequence[str], family: Family) -> Iterator[str]:
    """What holds the texts. In bash an array, of which it finds the next element at once; functions it copies for each call.
    Elsewhere functions that set a variable to a text, some texts each: shells look up neither one of ten thousand
    variables nor one of ten thousand patterns fast.
    """
    if family == "bash":
        yield f"__xec_c=('' {' '.join(_word(text, family) for text in texts)})"
        return
    for first in range(0, len(texts) + 1, GROUP):
        numbers = range(max(first, 1), min(first + GROUP, len(texts) + 1))
        cases = " ".join(f"{number}) __xec_t={_word(texts[number - 1], family)} ;;" for number in numbers)
        yield f"__xec_g{first // GROUP}() {{ case $__xec_i in {cases} esac; }}"


def _in_turn(texts: list[StrictParts], isolated: bool) -> Iterator[str]:
    """The texts, each with the option `pipefail` where it needs that, and no longer; none begins as an option of `eval` does."""
    on = False
    for one in texts:
        before = " " if one.body.startswith("-") else ""
        before += "set -o pipefail; " if one.pipefail else "set +o pipefail; " if on and not isolated else ""
        yield before + one.body
        on = one.pipefail


def _without_errexit(texts: Sequence[str]) -> list[str]:
    """Commands for sh, where `-e` ends the shell: those of plain statements are joined by `&&` and go without it."""
    if any(re.search(r"\(\s*\)", text) for text in texts):  # a function that one defines needs it in another
        return list(texts)
    return [joined if (joined := _joined(text)) is not None else text for text in texts]


def _joined(text: str) -> str | None:
    """The text with `&&` between its statements, which stops as `-e` does; None where it would not."""
    source = grammar_bytes(text)
    tree = parse(source)
    if not understood(tree) or any(_needs_errexit(node) for node in walk(tree)):
        return None
    statements = [node for node in tree.root_node.named_children if node.type != "comment"]
    if any(_body(node).type not in _PLAIN for node in statements[:-1]) or not statements:
        return None
    raw, pieces, position = encode_script(text), [], 0
    for one, following in pairwise(statements):
        between = source[one.end_byte : following.start_byte]
        separator = re.match(rb"[ \t]*;?", between)
        assert separator is not None
        pieces += [raw[position : one.end_byte], b" && "]
        position = one.end_byte + separator.end()
    return "set +e; " + decode_script(b"".join([*pieces, raw[position:]]))


def _needs_errexit(node: Node) -> bool:
    if node.type == "command_name":
        return node.text in {b".", b"eval", b"command", b"exec", b"trap", b"set"}
    return node.type in _COMPOUND or (node.type == "command_substitution" and node.named_child_count > 1)


def _body(node: Node) -> Node:
    return (node.named_child(0) or node) if node.type == "redirected_statement" else node


_PLAIN: Final = frozenset({
    "command", "pipeline", "variable_assignment", "variable_assignments", "declaration_command", "unset_command",
    "test_command",
})  # fmt: skip
_COMPOUND: Final = frozenset({
    "subshell", "compound_statement", "for_statement", "c_style_for_statement", "while_statement", "if_statement",
    "case_statement", "function_definition", "heredoc_redirect", "&",
})  # fmt: skip


# -- what the shell reads -------------------------------------------------------------------------
#
# `@NAME@` stands for another text. All of it becomes one line: bash counts the lines of what it evaluates from there.
# c or g0, g1, … hold the commands. Variables: t the command, i its number, s the exit code of the last, n the next one,
# d done, f the first bad exit code, l the loop, a what is around it, h what the EXIT trap does, p whose, b a digit for each time
# that it was handed on, x tracing is on, e nothing goes on, r the streams as they were, k, q and y for a moment.

# Where a command has switched `set` off, the next ones would be left out, and told to have ended well.
_STRICT: Final = '@B@set "-eu$__xec_x" || @B@exit 125'
_TRACE: Final = "case $__xec_x in x) @B@set -x ;; esac"
_ALIVE: Final = (
    'case $__xec_b in 1*) { @P@kill -0 "$$"; } 2>&- || @B@exit 125 ;; esac;'  # `kill $$` ends the first process
)
# In bash a syntax error within `[[ ]]` makes the next `[[` one as well, unless there is another one between; nobody hears this.
# What reads texts of its own (`eval`, `source`) may have gone on behind one.
_RESET: Final = "{ @C@eval ')' || :; } 2>&-"
_ANEW: Final = f"case $__xec_s in 2) {_RESET} ;; esac;"
_ANEW_ALWAYS: Final = f"case $- in *e*) @B@set +e; {_RESET}; @B@set -e ;; *) {_RESET} ;; esac;"
_EVAL: Final = '@B@eval "$__xec_t"'
# Where a trap on ERR may be set: what has failed inside of `eval` would count once more as the failure of `eval` itself.
_EVAL_ONCE: Final = f"case $- in *e*) {_EVAL} ;; *) ! {_EVAL}; __xec_s=${{PIPESTATUS[0]}} ;; esac"
# `set -n` lets the condition of a loop seem true, whatever it is: this one ends then, and one with `while` never would. Its condition
# fails each time, and a command must not find that in `$?`, which `exit` would give; hence the assignment, which no trace shows.
_SHARED: Final = "until ! __xec_next; do { __xec_k=; } @MUTE@; { @EVAL@; } @KEPT@; done"
_FORKING: Final = "until ! __xec_next; do @FORK@; done"
_FORK: Final = '( @FORKED@; @B@eval "$__xec_t" )'
# What bash says of a child that a signal has ended shows the child's text, which is ours here; so nobody hears it.
_FORK_UNHEARD: Final = f"{{ {_FORK} 2>&@W@ @W@>&-; }} @W@>&2 2>/dev/null"
# A `break` outside of any loop of its own ends the loop around the commands, and its command.
_AROUND: Final = r'\eval "$__xec_l"; case $__xec_d in "") \eval "$__xec_a" ;; esac'
_FRAME: Final = r"""@P@printf '@FRAME@:%s:%s:%s\n' "$__xec_n" "$__xec_s" "$__xec_k" """
_IN_FUNCTIONS: Final = f'"__xec_g$((__xec_i/{GROUP}))" || @B@exit 125'
_NEXT: Final = (
    "__xec_next() { "
    "{ __xec_s=$((${__xec_s:-$?}&255)); case $- in *x*) @B@set +x; __xec_x=x ;; *) __xec_x= ;; esac; } @MUTE@; "
    "@GENUINE@; @ALIVE@ @ANEW@ "
    "__xec_n=$((__xec_i+1)); "
    "case $__xec_s in @OK@) ;; *) __xec_f=${__xec_f:-$__xec_s}; @STOP@ ;; esac; "
    "__xec_k=${EPOCHREALTIME-}; "
    f"{_FRAME} && {_FRAME} >&2 || @B@exit 125; "
    "__xec_s=; "
    # Where a command has switched `return` off (`enable -n`), the loop would never end.
    f'case $__xec_n in {STOPPED}|@END@) __xec_d=1; @B@set +eu; @B@return 1; @B@exit "${{__xec_f:-0}}" ;; esac; '
    "__xec_i=$__xec_n; "
    "@TEXT@; "
    "@OPTIONS@; }"
)
# What the EXIT trap of a shell does that a command has ended: a child goes on with its state, and it waits for that. In bash a member
# of a pipe that an expansion ends (`echo $((1/0)) | cat`) runs this trap as well, in a process of its own: it must not go on.
_HAND_ON: Final = (
    "__xec_s=$?; if @GENUINE@; then :; fi; { @B@set +eux; } 2>&-; @SAME@ "
    'case ${BASHPID-} in "$__xec_p") ;; *) __xec_e=e ;; esac; '
    f"case $__xec_d.$__xec_e.$__xec_b in ..{'1' * MOST_SHELLS}|1*|*e*) ;; *) __xec_b=1$__xec_b; "
    r'( @TRAPS@; \eval "$__xec_a"; @B@exit "${__xec_f:-0}" ); @B@exit "$?" ;; esac'
)
_NESTS: Final = r"""\trap '( \trap "echo y" EXIT; \exit )' EXIT; \exit"""
_ON_EXIT: Final = r"""__xec_p=${BASHPID-}; @B@trap '\eval "$__xec_h"' EXIT"""
# In a subshell `-e` itself does the right thing. The code of what has ended a command stays when a trap on DEBUG fails behind it.
_ON_ERROR: Final = (
    "; @B@set -E; @B@trap '__xec_y=$?; case $-.$BASH_SUBSHELL in *e*.${#__xec_b}) __xec_s=$__xec_y; "
    'case ${FUNCNAME-} in "") @B@set +e; @B@continue 9999 ;; *) @B@return "$__xec_y" ;; esac ;; esac\' ERR'
)
# Some shells run the EXIT trap when a signal ends them; nothing more may begin then.
_ON_SIGNALS: Final = "".join(
    f"; @B@trap '@B@trap - EXIT {name}; @P@kill -{name} \"${{BASHPID:-$$}}\"; @B@exit {code}' {name}"
    for name, code in (("HUP", 129), ("INT", 130), ("TERM", 143))
)
_STREAMS: Final = "$(readlink /proc/self/fd/@D@ /proc/self/fd/@W@ 2>/dev/null)"
_NOTE_STREAMS: Final = f"{{ __xec_r={_STREAMS}; }} @D@>&1 @W@>&2"
# A fatal error leaves the command's own redirections in place; who goes on there would print into its files.
_CHECK_STREAMS: Final = (
    f'__xec_k=; {{ __xec_k={_STREAMS}; }} @D@>&1 @W@>&2; case $__xec_k in "$__xec_r") ;; *) __xec_e=e ;; esac;'
)
_PROBE: Final = r"\builtin printf -v __xec_k ok"
_GENUINE: Final = (
    rf"__xec_q=$__xec_k; __xec_k=; {_PROBE}; case $__xec_k in ok) ;; *) @REPAIR@; {_PROBE}; "
    ": ${__xec_k:?the batch ends: builtin is not the builtin of the shell} ;; esac; __xec_k=$__xec_q"
)

_SHELLS: Final[dict[str, dict[str, str]]] = {
    "bash": {
        # The descriptors are small enough for `ulimit -n 64`, and no others' (see the streams of a session).
        "B": r"\builtin ", "P": r"\builtin ", "C": r"\builtin command ", "MUTE": "2>&-", "ANEW": _ANEW, "D": "56", "W": "57", "KEPT": "56>&1 1>&56- 56>&2 2>&56-", "CLOCK": "", "GENUINE": _GENUINE, "TEXT": "__xec_t=${__xec_c[__xec_i]}",
        # Only in POSIX mode do builtins come before functions; leaving it switches aliases off.
        "REPAIR": r"case ${BASHOPTS-} in *expand_aliases*) __xec_k=1 ;; esac; POSIXLY_CORRECT=1; \unset -f builtin; "
        r"\unset POSIXLY_CORRECT; case $__xec_k in 1) \builtin shopt -s expand_aliases ;; esac; __xec_k=",
        "RESUMED": _STRICT, "AROUND": _AROUND, "SAME": _CHECK_STREAMS,
        "EXITS": r'exit() { __xec_k=$?; __xec_e=e; \builtin exit "${1-$__xec_k}" "${@:2}"; }; ' + _NOTE_STREAMS,
        "TRAPS": _ON_EXIT + _ON_SIGNALS + "@ON_ERROR@",
    },
    "zsh": {
        # A trace that cannot be written is an error here, and a failure where commands are strict.
        "B": r"\builtin ", "P": r"\builtin ", "MUTE": "2>/dev/null", "ANEW": "", "D": "7", "W": "6", "KEPT": "7>&1 1>&7 6>&2 2>&6 7>&- 6>&-", "CLOCK": "zmodload zsh/datetime 2>/dev/null || :", "TEXT": _IN_FUNCTIONS,
        "GENUINE": _GENUINE, "REPAIR": r"\unset -f builtin",
        "RESUMED": '@B@set "-u$__xec_x"; @B@setopt err_return',
        "AROUND": r'until [[ -n $__xec_d ]]; do { @B@. /dev/fd/@D@ @D@<<<"$__xec_l" } always '
        r'{ __xec_s=$?; @B@unsetopt err_return; TRY_BLOCK_ERROR=0 }; done; case $__xec_d in "") \eval "$__xec_a" ;; esac',
        "EXITS": "", "SAME": "", "TRAPS": "",
    },
    "sh": {
        "B": "\\", "P": r"\command ", "C": r"\command ", "MUTE": "2>&-", "ANEW": _ANEW, "D": "7", "W": "6", "KEPT": "7>&1 1>&7 7>&2 2>&7 7>&-", "CLOCK": "", "TEXT": _IN_FUNCTIONS, "GENUINE": r"\unset -f command", "REPAIR": "",
        "RESUMED": _STRICT, "AROUND": _AROUND, "SAME": "", "EXITS": f"alias exit='__xec_e=e exit'; __xec_q=$({_NESTS})",
        # In BusyBox a trap of the child would not be heard, and `-e` half.
        "TRAPS": f"case $__xec_q in y) {_ON_EXIT}{_ON_SIGNALS} ;; esac",
    },
}  # fmt: skip


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The template with the names in it replaced, and those in their texts."""
    while (filled := re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], template)) != template:
        template = filled
    return template


def _word(text: str, family: Family) -> str:
    """A text as one word; on one line in bash."""
    if family == "bash" and "\n" in text:
        escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"$'{escaped}'"
    return "'" + text.replace("'", "'\\''") + "'"
