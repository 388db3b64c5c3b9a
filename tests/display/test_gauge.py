import math
from array import array

import pytest

from xec_magic.display.gauge import ROWS, Gauge
from xec_magic.events import Mark, Sample
from xec_magic.timeline import Timeline


def gauge(*samples, **options):
    made = Timeline(10.0, **options)
    for one in samples:
        made.add(one)
    return Gauge(made, lambda text: text.replace("s3cret", "***"))


def sample(at, cpu_s=None, rss=None, **more):
    return Sample("r1", at, cpu_s, rss, **more)


def rows(data):
    values = array("f", data)
    return [tuple(values[at : at + 7]) for at in range(0, len(values), 7)]


def test_the_first_message_has_all_and_later_ones_what_is_new():
    one = gauge(sample(10.5, 0.25, 100))
    content, data = one.take()
    assert content == {"whole": True, "next": 1, "marks": []}
    assert rows(data)[0][:3] == (0.5, 0.5, 100.0)
    assert one.take() is None
    one.add(sample(11.0, 1.25, 200, read_bytes=5))
    content, data = one.take()
    assert content == {"first": 1, "next": 2}
    assert rows(data)[0][:3] == (1.0, 2.0, 200.0)
    assert math.isnan(rows(data)[0][3])


def test_a_message_is_small_and_numbers_go_on():
    one = gauge()
    one.take()
    for n in range(20):
        one.add(sample(10.0 + n / 20, n / 40, n))
    content, data = one.take()
    assert (content["first"], content["next"]) == (0, 20)
    assert len(data) == 20 * 7 * 4


def test_what_is_known_already_does_not_come_twice():
    one = gauge(sample(10.5, 0.1, 1))
    one.take()
    one.add(sample(10.5, 0.1, 1))
    assert one.take() is None


def test_a_page_that_missed_something_gets_what_was_sent():
    one = gauge(sample(10.5, 0.1, 1))
    one.take()
    one.add(sample(11.0, 0.2, 2))
    content, data = one.whole()
    assert content["next"] == 1  # what was not sent comes as its own message
    assert len(rows(data)) == 1
    one.take()
    assert len(rows(one.whole()[1])) == 2


def test_a_pause_is_a_row_of_nothing():
    one = gauge(*(sample(10 + n / 4, n / 10, 1) for n in range(1, 5)), sample(40.0, 1.0, 1))
    middle = rows(one.take()[1])[4]
    assert all(map(math.isnan, middle[1:]))


def test_rows_are_bounded_and_gaps_stay():
    one = gauge(sample(10.25, 0, 1), sample(10.5, 0, 1), sample(30.0, 0, 1))
    for n in range(5 * ROWS):
        one.add(sample(31.0 + n / 4, n, n))
        one.take()
    kept = rows(one.whole()[1])
    assert len(kept) <= ROWS
    assert sum(math.isnan(row[2]) for row in kept) == 1


def test_marks_are_masked_and_come_once():
    one = gauge()
    one.take()
    one.mark(Mark("r1", 12.0, "the s3cret"))
    assert one.take()[0]["marks"] == [(2.0, "the ***")]
    assert one.take() is None


def test_of_a_machine_the_first_row_has_no_rate():
    first = rows(gauge(sample(11.0, 999.0, 5), from_zero=False).take()[1])[0]
    assert math.isnan(first[1])
    assert first[2] == 5.0


@pytest.mark.parametrize("field", ["cpu_s", "read_bytes"])
def test_what_turns_unreadable_is_nan(field):
    one = gauge(sample(10.5, 0.1, 1, read_bytes=1))
    one.take()
    one.add(sample(11.0, **{"cpu_s": 0.2, "rss": 1, "read_bytes": 2} | {field: None}))
    row = rows(one.take()[1])[0]
    assert math.isnan(row[1 if field == "cpu_s" else 3])
