"""What `CachePolicy` and `Condition` promise: wrong ones are refused in one line before anything runs."""

import math
import pickle
import re

import pytest

from xec_magic.cachepolicy import RESULT_FIELDS, CachePolicy, Condition, parse_ttl
from xec_magic.command import Command
from xec_magic.errors import OptionError
from xec_magic.fold import fold
from xec_magic.plan import Plan
from xec_magic.result import Result


@pytest.mark.parametrize("text", ["0", 0, "soon", "-5", -5, "", "nan", math.nan, "-inf", True, None, [5], "5 parsecs"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(OptionError) as caught:
        parse_ttl(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("5m", 300), (0.25, 0.25), ("inf", math.inf), (math.inf, math.inf)]
)
def test_a_time_may_be_written_in_the_usual_ways(text, seconds):
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("ok and", "is no Python expression: invalid syntax at its end"),
        ("x = 1", "is no Python expression: invalid syntax"),
        ("", "is no Python expression"),
        ("await ok", "is no Python expression"),
        ("stdot", "a result has no 'stdot'; did you mean stdout?"),
        ("ok and nothing_like_it", "a result has no 'nothing_like_it'"),
        ("(" * 300 + "ok" + ")" * 300, "is no Python expression"),
        ("ok\0", "is no Python expression"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(source, reason):
    with pytest.raises(OptionError) as caught:
        Condition(source)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_sees_the_fields_of_the_result_also_within_comprehensions():
    result = fold([], Command("true"))
    assert not Condition("ok")(result)
    assert Condition("any(word in command for word in ['true', 'false'])")(result)
    assert Condition("all(c in stdout for c in stdout) and (lambda x: x == command)('true')")(result)
    assert Condition("result.command == command and (n := len(attempts)) == 0 and n == 0")(result)


def test_all_names_that_a_condition_may_use_are_there():
    result = fold([], Command("true"))
    assert [name for name in RESULT_FIELDS if name != "result" and not hasattr(result, name)] == []
    public = {name for name in dir(Result) if not name.startswith("_")} - set(RESULT_FIELDS)
    assert not public & {"ok", "stdout", "stderr", "output", "lines", "json"}


def test_a_condition_travels_and_compares_by_its_source():
    condition = Condition("ok and exit_code == 0")
    assert pickle.loads(pickle.dumps(condition)) == condition
    assert hash(Condition("ok")) == hash(Condition(" ok "))
    plan = Plan(Command("true"), cache=CachePolicy("5m", when=condition))
    assert pickle.loads(pickle.dumps(plan)) == plan


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"ttl": 0}, "cache: a result that is kept for 0 seconds"),
        ({"ttl": 60, "stale": "-1"}, "stale: '-1' is no duration"),
        ({"ttl": 60, "failures": "soon"}, "cache failures: 'soon' is no duration"),
        ({"ttl": 60, "key": 5}, "cache key: a int is neither a text nor a function"),
        ({"ttl": 60, "key": ""}, "cache key: the text is empty"),
        ({"ttl": 60, "when": "ok"}, "cache when: a str is no function"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(arguments, reason):
    with pytest.raises(OptionError, match=reason):
        CachePolicy(**arguments)


def test_a_policy_can_be_changed_in_parts():
    policy = CachePolicy("5m", key="name", depends="/etc/hosts", persist=True)
    changed = policy.over(ttl="1h", refresh=True)
    assert (changed.ttl_s, changed.key, changed.depends, changed.persist, changed.refresh) == (
        3600, "name", ("/etc/hosts",), True, True,
    )  # fmt: skip
    assert policy.ttl_s == 300


def test_what_a_command_makes_of_a_secret_has_no_cache():
    with pytest.raises(OptionError, match="secret"):
        Plan(Command("true", secret_env=(("TOKEN", "value"),)), cache=CachePolicy(60))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depends": ""}, "cache depends: the path is empty"),
        ({"depends": ["a", ""]}, "cache depends: the path is empty"),
        ({"depends": None}, "cache depends: None is neither a text nor several"),
        ({"depends": [3]}, "cache depends: 3 is no path"),
        ({"env": None}, "cache env: None is neither a text nor several"),
        ({"env": [1]}, "cache env: 1 is no name of a variable"),
        ({"env": "A=b"}, "cache env: 'A=b' is no name of a variable"),
        ({"env": [""]}, "cache env: '' is no name of a variable"),
    ],
)
def test_what_a_result_cannot_depend_on_is_refused(options, message):
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        CachePolicy(60, **options)
