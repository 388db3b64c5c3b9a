import math

import pytest

from xec_magic.alert import Capacity, parse_alert
from xec_magic.errors import OptionError
from xec_magic.timeline import Curves

MACHINE = Capacity(cores=4, memory_bytes=1000)


def curves(**last):
    return Curves(**{name: [last.get(name, math.nan)] for name in Curves._fields})


@pytest.mark.parametrize(
    ("text", "column", "bound"),
    [
        ("mem > 90%", "rss_bytes", 900.0),
        ("mem>4k", "rss_bytes", 4096.0),
        ("cpu > 50%", "cpu_cores", 2.0),
        ("cpu > 3", "cpu_cores", 3.0),
        ("write > 1MB/s", "write_rate", 1e6),
        ("received >= 2kB", "received_rate", 2000.0),
    ],
)
def test_a_bound_is_read(text, column, bound):
    alert = parse_alert(text, MACHINE)
    assert (alert.column, alert.bound, alert.below) == (column, bound, False)


def test_it_is_broken_by_more_or_by_less():
    assert parse_alert("mem > 90%", MACHINE).broken_by(curves(rss_bytes=950.0)) == 950.0
    assert parse_alert("mem > 90%", MACHINE).broken_by(curves(rss_bytes=850.0)) is None
    assert parse_alert("cpu < 1", MACHINE).broken_by(curves(cpu_cores=0.5)) == 0.5


def test_what_is_not_known_breaks_nothing():
    assert parse_alert("cpu < 1", MACHINE).broken_by(curves()) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mem", "no alert"),
        ("disk > 3", "there is no 'disk'"),
        ("write > 90%", "only cpu and mem"),
        ("cpu > 3GB", "cores or %"),
        ("mem > 3parsecs", "no size"),
        ("mem > 1.2.3", "no number"),
    ],
)
def test_what_means_nothing_is_refused_with_what_could_stand_there(text, hint):
    with pytest.raises(OptionError, match=hint):
        parse_alert(text, MACHINE)
