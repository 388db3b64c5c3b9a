"""What `xec_magic.optionspec` promises: one declaration gives the parser, the keywords, the configuration and the help."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xec_magic.errors import OptionError
from xec_magic.optionspec import (
    CODES,
    COUNT,
    DURATION,
    IDENTIFIER,
    PAIRS,
    PATH,
    SIZE,
    SWITCH,
    TEXT,
    WORDS,
    OptionSet,
    choice,
    flag,
    nearest,
    next_word,
    option,
)


@dataclass(frozen=True)
class Sample:
    timeout: float | None = option(
        "-t", "--timeout", unit=DURATION, metavar="TIME", group="stop", none=True, help="End it. Later."
    )
    check: bool = flag("--no-raise", default=True, group="stop", help="Do not raise.")
    env: tuple = option(
        "--env", unit=PAIRS, metavar="K=V", group="where", default=(), repeatable=True, help="Add a variable."
    )
    shell: tuple = option(
        "--shell", unit=WORDS, metavar="CMD", group="where", default=(), needs_trust=True, help="Run by this."
    )
    cwd: str | None = option("--cwd", unit=PATH, metavar="DIR", group="where", help="Run here.")
    quiet: bool = flag("-q", "--quiet", group="output", help="Show nothing.")
    form: str | None = option(
        "--as",
        unit=choice("text", "json"),
        metavar="text|json",
        group="output",
        line_only=True,
        in_python=False,
        help="Turn into.",
    )
    max_output: int | None = option(
        "--max-output", unit=SIZE, metavar="SIZE", group="output", default=1, none=True, help="Stop it."
    )
    keep: bool = option(unit=SWITCH, metavar="BOOL", group="output", default=True, help="Keep it.")


SPEC = OptionSet(Sample)


def refused(line, **keywords):
    with pytest.raises(OptionError) as caught:
        SPEC.parse_line(line, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    return message


# -- lines


def test_a_line_gives_only_what_it_sets():
    assert SPEC.parse_line("ls -l").values == {}
    assert SPEC.parse_line("").values == {}
    assert SPEC.parse_line("-q --no-raise true").values == {"quiet": True, "check": False}


@pytest.mark.parametrize(
    "line", ["--timeout=90", "--timeout 90s", "-t 1m30s", "-t90", "--timeout '90'", '--timeout="90 s"']
)
def test_a_value_may_stand_behind_its_option_in_each_usual_way(line):
    assert SPEC.parse_line(line).values == {"timeout": 90.0}


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("-t 5 echo  'a  b' \"$HOME\" {x} --timeout 3 ", "echo  'a  b' \"$HOME\" {x} --timeout 3 "),
        ("-- -t 5", "-t 5"),
        ("-q --  ls\t-l", "ls\t-l"),
        ("- x", "- x"),
        ("'--timeout' 5", "'--timeout' 5"),
        ("-q echo 'open quote", "echo 'open quote"),
        ("-q \\\n  echo ${{ x }}", "\\\n  echo ${{ x }}"),
        ("find . -name '*.py' -exec wc {} \\;", "find . -name '*.py' -exec wc {} \\;"),
    ],
)
def test_options_end_at_the_first_word_that_is_none_and_the_rest_is_untouched(line, rest):
    assert SPEC.parse_line(line).rest == rest


@given(st.text(st.characters(codec="utf-8")))
def test_whatever_follows_two_dashes_reaches_the_shell_unchanged(text):
    assert SPEC.parse_line("-q -- x" + text).rest == "x" + text


def test_a_field_in_a_value_is_one_word_whatever_it_holds():
    seen = []

    def expand(value):
        seen.append(value)
        return "/data"

    parsed = SPEC.parse_line("""--cwd ${{ d["a b"] if x else {'k': {1: 2}}['k'] }}/sub "ls" """, expand=expand)
    assert seen == ["""${{ d["a b"] if x else {'k': {1: 2}}['k'] }}/sub"""]
    assert parsed.values == {"cwd": "/data"}
    assert parsed.rest == '"ls" '


@pytest.mark.parametrize("body", ["x!raw", "x :.2f", "d['}}']", "{1: {2: 3}}", "[a for a in b]", "'\\''"])
@pytest.mark.parametrize("template", ["{}", '"{}"', "'{}'", "a{}b"])
def test_a_field_ends_where_its_expression_does_in_and_out_of_quotes(body, template):
    unit = "${{ " + body + " }}"
    word = next_word(template.replace("{}", unit) + " rest", 0)
    assert word.text.replace("a$", "$").removesuffix("b") == unit
    assert word.end == len(template) - 2 + len(unit)


def test_an_escaped_field_and_values_without_fields_are_left_alone():
    assert SPEC.parse_line("--cwd $${{x}} ls").values == {"cwd": "$${{x}}"}
    assert SPEC.parse_line("--cwd '$x {y}'", expand=lambda _: pytest.fail("nothing to expand")).values == {
        "cwd": "$x {y}"
    }


@given(st.text(st.sampled_from("a$b{} '\"\\}!:-=\t\n")))
def test_any_text_is_a_line_or_an_option_error(text):
    at, words = 0, 0
    while (word := next_word(text, at)) is not None:
        assert word.end > at
        at = word.end
        words += 1
    assert words <= len(text)
    try:
        rest = SPEC.parse_line(text).rest
    except OptionError:
        return
    assert text.endswith(rest)


def test_an_unknown_option_names_the_nearest():
    assert refused("--timout 5 ls") == "there is no option --timout; did you mean --timeout?"
    assert "behind --" in refused("-x ls")
    assert refused("--max_output=5 ls") == "there is no option --max_output; did you mean --max-output?"


def test_an_option_is_never_abbreviated():
    assert "did you mean --timeout?" in refused("--time 5 ls")


def test_an_option_without_its_value_says_what_it_needs():
    assert refused("--timeout") == "--timeout needs a value, TIME"
    assert refused("-t --quiet ls") == "-t needs a value, TIME, which --quiet is not; -t=--quiet takes it nevertheless"


def test_a_switch_with_a_value_is_refused():
    assert refused("--quiet=1 ls") == "--quiet takes no value; write --quiet alone"


def test_a_wrong_value_says_where_and_how_it_is_written():
    assert refused("--timeout soon ls").startswith("--timeout: 'soon' is no duration; write 90")
    assert refused("--as jsno ls") == "--as: 'jsno' is not among text, json; did you mean json?"


def test_an_option_given_twice_is_refused_unless_it_may_be_repeated():
    assert refused("-t 5 --timeout 6 ls") == "--timeout is given twice; write --timeout once"
    assert "twice" in refused("--no-raise --raise ls")
    assert SPEC.parse_line("--env A=1 --env 'B=x y' --env A=2").values == {"env": (("A", "2"), ("B", "x y"))}


def test_an_open_quote_in_a_value_is_refused():
    assert "a quote is opened and never closed" in refused("--cwd '/a b ls")


def test_the_line_of_a_cell_holds_options_only():
    assert SPEC.parse_line(" -q  ", cell=True).rest == ""
    assert refused("-q ls -l", cell=True).startswith("'ls -l' is no option; the line of a cell holds options only")
    assert "'echo'" in refused("-- echo", cell=True)


def test_a_switch_set_by_configuration_can_be_undone_on_the_line():
    assert SPEC.parse_line("--raise --no-quiet").values == {"check": True, "quiet": False}


# -- keywords


def test_keywords_take_what_the_line_takes():
    assert SPEC.read_keywords({"timeout": "5m", "env": {"A": "1"}, "shell": "zsh -f"}) == {
        "timeout": 300.0, "env": (("A", "1"),), "shell": ("zsh", "-f"),
    }  # fmt: skip
    assert SPEC.read_keywords({"timeout": None, "max_output": None, "cwd": None}) == {
        "timeout": None,
        "max_output": None,
        "cwd": None,
    }
    assert SPEC.read_keywords({"keep": False}) == {"keep": False}


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"timout": 5}, "there is no option 'timout'; did you mean timeout?"),
        ({"no_raise": True}, "there is no option 'no_raise'; it is check in Python"),
        ({"form": "json"}, "form: only a line has --as"),
        ({"timeout": True}, "timeout: True is no duration"),
        ({"check": None}, "check: None is neither true nor false"),
        ({"env": {"A=B": "1"}}, "env: 'A=B' is no name of a variable"),
        ({"env": {"A": 1}}, "env: the value of A must be text, not int"),
        ({"env": {"A": "x\0y"}}, "env: the value of A holds a NUL character"),
    ],
)
def test_wrong_keywords_are_refused_by_name(keywords, message):
    with pytest.raises(OptionError) as caught:
        SPEC.read_keywords(keywords)
    assert str(caught.value).startswith(message)


# -- configuration


def test_configuration_takes_keywords_and_long_options_with_dash_or_underscore():
    assert SPEC.read_config({"timeout": "10m", "max-output": "none", "no-raise": True}, "f") == {
        "timeout": 600.0, "max_output": None, "check": False,
    }  # fmt: skip
    assert SPEC.read_config({"max_output": 5, "raise": False, "no-quiet": True}, "f") == {
        "max_output": 5,
        "check": False,
        "quiet": False,
    }
    assert SPEC.read_config({"env": {"A": "1"}, "check": True}, "f") == {"env": (("A", "1"),), "check": True}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"timout": 5}, "f.toml: there is no option 'timout'; did you mean timeout?"),
        ({"timeout": "soon"}, "f.toml: timeout: 'soon' is no duration"),
        ({"as": "json"}, "f.toml: as is no standing default; write --as on the line that needs it"),
        ({"check": True, "no-raise": True}, "f.toml: no-raise is set twice"),
        ({"shell": "sh"}, "f.toml: shell can make every command run other code"),
        ({"keep": True}, "f.toml: there is no option 'keep'"),
    ],
)
def test_wrong_configuration_names_file_and_key(config, message):
    with pytest.raises(OptionError) as caught:
        SPEC.read_config(config, "f.toml", trusted=False)
    assert str(caught.value).startswith(message)


def test_variables_of_the_environment_are_named_when_wrong():
    assert SPEC.read_environment({"XEC_TIMEOUT": "5m", "XEC_QUIET": "yes", "XEC_AS": "json", "XEC_ENV": "A=1 B='x y'"}) == {
        "timeout": ("XEC_TIMEOUT", 300.0), "quiet": ("XEC_QUIET", True), "env": ("XEC_ENV", (("A", "1"), ("B", "x y"))),
    }  # fmt: skip
    with pytest.raises(OptionError, match="XEC_QUIET: 'maybe' is neither true nor false"):
        SPEC.read_environment({"XEC_QUIET": "maybe"})


def test_traits_are_the_configurable_options():
    assert [(trait.name, trait.kind) for trait in SPEC.traits()] == [
        ("timeout", "duration"), ("check", "switch"), ("env", "pairs"), ("shell", "words"), ("cwd", "path"), ("quiet", "switch"),
        ("max_output", "size"),
    ]  # fmt: skip


# -- units


@pytest.mark.parametrize(
    ("unit", "value", "read"),
    [
        (CODES, "0, 1", {0, 1}),
        (CODES, 3, {3}),
        (CODES, [0, "75"], {0, 75}),
        (COUNT, "12", 12),
        (IDENTIFIER, "größe", "größe"),
        (WORDS, ["zsh", "-f"], ("zsh", "-f")),
        (PAIRS, ["A=b=c", "E="], (("A", "b=c"), ("E", ""))),
        (TEXT, "", ""),
    ],
)
def test_units_read_texts_and_python_values(unit, value, read):
    assert unit.read(value) == read


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        (CODES, "0,x"), (CODES, True), (COUNT, "-1"), (COUNT, 1.5), (COUNT, True), (COUNT, "1" * 5000), (IDENTIFIER, "a-b"),
        (IDENTIFIER, "class"), (IDENTIFIER, 3), (WORDS, ""), (WORDS, "'open"), (WORDS, b"sh"), (WORDS, ["sh", 1]), (PAIRS, "A"),
        (PAIRS, 3), (PAIRS, "'open"), (TEXT, b"x"), (TEXT, "\0"), (PATH, ""), (PATH, 3), (SWITCH, 1),
    ],
)  # fmt: skip
def test_units_refuse_what_they_cannot_read(unit, value):
    with pytest.raises(OptionError):
        unit.read(value)


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        (CODES, "0,1"),
        (COUNT, "3"),
        (WORDS, "zsh -f"),
        (PAIRS, "A=1 B="),
        (DURATION, "5m"),
        (SIZE, "1k"),
        (SWITCH, "on"),
        (PATH, "x"),
    ],
)
def test_a_value_that_was_read_can_be_read_again(unit, value):
    assert unit.read(unit.read(value)) == unit.read(value)


def test_none_sets_back_what_has_no_default():
    assert SPEC.read_config({"cwd": None, "shell": None, "env": None}, "%config") == {
        "cwd": None,
        "shell": (),
        "env": (),
    }


def test_a_field_that_is_a_typing_error_costs_no_time():
    for line in ("${{" + "}}" * 20_000, "${{" + ":!" * 3000 + "}}" * 50):
        assert next_word(line, 0).end == len(line)


def test_a_wrong_variable_does_not_show_what_may_be_a_token():
    with pytest.raises(OptionError) as caught:
        PAIRS.read("hunter2")
    assert "hunter2" not in str(caught.value)


def test_nearest_says_nothing_when_nothing_is_near():
    assert nearest("xyz", ["--timeout"]) == ""


# -- documentation


def test_help_lists_every_option_of_a_line_by_group():
    text = SPEC.help_text()
    assert text.startswith("stop:\n  -t, --timeout TIME")
    assert "May be repeated." in text
    assert all(flag in text for option in SPEC for flag in option.flags)
    assert max(map(len, text.splitlines())) <= 100
    assert "keep" not in text


def test_the_table_has_option_keyword_and_variable():
    table = SPEC.markdown()
    assert "| `--no-raise` | Do not raise. | `check=False` | `XEC_CHECK` |" in table
    assert "`text\\|json`" in table
