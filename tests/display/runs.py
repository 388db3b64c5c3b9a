"""Results and logs for the tests of the display."""

from xec_magic.command import LOCAL, Command
from xec_magic.events import Exited, Note, Output, Started, Usage
from xec_magic.fold import fold
from xec_magic.output import OutputLog
from xec_magic.plan import Plan


def make_result(
    *pieces,
    code=0,
    signal=None,
    cause=None,
    script="make all",
    label="",
    target=LOCAL,
    session="",
    more=(),
    seconds=0.5,
    **exited,
):
    """A result from pieces of output: bytes for stdout, ("stderr", bytes) for the other."""
    events = [Started("r1", 0.0, 1_700_000_000.0, 4242)]
    for piece in pieces:
        stream, data = piece if isinstance(piece, tuple) else ("stdout", piece)
        events.append(Output("r1", 0.1, stream, data))
    events += more
    events.append(Exited("r1", seconds, code, signal, cause=cause, usage=Usage(0.2, 0.1, 64 * 2**20), **exited))
    return fold(events, Plan(Command(script, target=target, session=session), label=label))


def make_log(*pieces, **options):
    log = OutputLog(**options)
    for piece in pieces:
        log.append(*(piece if isinstance(piece, tuple) else ("stdout", piece)))
    return log


def note(text):
    return Note("r1", 0.2, text)
