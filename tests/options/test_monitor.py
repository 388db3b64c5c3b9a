import pytest

from xec_magic.errors import OptionError
from xec_magic.options import RunOptions
from xec_magic.options.monitor import MonitorOptions
from xec_magic.plan import MonitorPolicy


def plan(line):
    options, rest = RunOptions.from_line(line)
    return options.plan(rest)


def test_a_run_is_watched_when_asked_for():
    assert plan("true").monitor is None
    assert plan("--monitor true").monitor == MonitorPolicy(4.0, ())
    watched = plan("--monitor --rate 0.5 --mark ^step --mark '(?i)done' true").monitor
    assert watched == MonitorPolicy(0.5, ("^step", "(?i)done"))


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("--monitor --rate 0 true", "rate must lie between 0.2 and 20 samples a second, not 0"),
        ("--monitor --rate -1 true", "rate must lie between"),
        ("--monitor --rate 1000 true", "rate must lie between"),
        ("--monitor --rate often true", "--rate: 'often' is no number of samples a second"),
        ("--monitor --mark [ true", "--mark: '.' is no regular expression"),
        ("--rate 2 true", "--rate belongs to --monitor"),
        ("--mark x true", "--mark belongs to --monitor"),
    ],
)
def test_what_makes_no_sense_is_refused(line, hint):
    with pytest.raises(OptionError, match=hint):
        plan(line)


def test_a_standing_rate_waits_for_a_run_that_is_watched():
    options, _ = RunOptions.from_line("true", config={"rate": 2.0})
    assert options.plan("true").monitor is None
    options, _ = RunOptions.from_line("--monitor true", config={"rate": 2.0})
    assert options.plan("true").monitor.rate_hz == 2.0


def test_a_wrong_alert_is_refused_where_it_is_written():
    with pytest.raises(OptionError, match="--alert: alert 'disk > 3': there is no 'disk' to watch"):
        MonitorOptions.SPEC.parse_line("--alert 'disk > 3'", cell=True)
