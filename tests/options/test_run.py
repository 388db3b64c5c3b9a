"""What `RunOptions` promises: a line, a call and the configuration become one complete plan, or one line says why not."""

from pathlib import Path

import pytest

from xec_magic.command import FileInput
from xec_magic.defaults import MAX_OUTPUT_BYTES
from xec_magic.errors import OptionError
from xec_magic.options import RunOptions, Settings, Variable
from xec_magic.options.tasks import TaskOptions
from xec_magic.plan import Plan


def line(text, **keywords):
    return RunOptions.from_line(text, **keywords)[0]


def refused(text, script="true", namespace=None):
    with pytest.raises(OptionError) as caught:
        line(text).plan(script, namespace)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_those_of_the_policies():
    plan = line("ls").plan("ls")
    assert plan == Plan(plan.command)
    assert RunOptions.SPEC.by_name["max_output"].default == MAX_OUTPUT_BYTES


def test_every_option_reaches_the_plan(tmp_path):
    options, rest = RunOptions.from_line(
        f"--cwd {tmp_path} --env A=1 --env B=2 --shell 'sh -f' --login -t 5m --grace 1 --no-raise --ok-codes 0,1 --no-strict --wait "
        f"--retries 2 --retry-codes 75,255 --backoff 100ms --tee {tmp_path}/log --max-output none --label 'the load' "
        "-o result --as json -q --bg --show  ls  -l"
    )
    plan = options.plan(rest)
    command = plan.command
    assert (command.script, command.cwd, command.env) == ("ls  -l", str(tmp_path), (("A", "1"), ("B", "2")))
    assert (command.shell, command.login, command.strict) == (("sh", "-f"), True, False)
    assert (plan.stop.timeout_s, plan.stop.grace_s, plan.stop.wait) == (300.0, 1.0, True)
    assert (plan.retry.retries, plan.retry.codes, plan.retry.backoff_s) == (2, {75, 255}, 0.1)
    assert (plan.limits.max_output_bytes, plan.ok_codes, plan.tee, plan.label) == (
        None,
        {0, 1},
        f"{tmp_path}/log",
        "the load",
    )
    assert (options.out, options.form, options.quiet, options.bg, options.show, options.check) == (
        "result",
        "json",
        True,
        True,
        True,
        False,
    )


def test_a_call_gives_the_same_plan_as_the_line(tmp_path):
    by_line = line(f"--cwd {tmp_path} --env A=1 -t 90 --retries 1 --read-only --ok-codes 0,1").plan("ls")
    by_call = RunOptions.from_keywords(
        {"cwd": tmp_path, "env": {"A": "1"}, "timeout": "90s", "retries": 1, "read_only": True, "ok_codes": [0, 1]}
    ).plan("ls")
    assert by_line == by_call


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("-t 0", {"timeout": 0}),
        ("--retries 2", {"retries": 2}),
        ("--ok-codes 256", {"ok_codes": 256}),
        ("--max-output 0", {"max_output": 0}),
    ],
)
def test_line_and_call_refuse_the_same_values_in_the_same_words(text, keywords):
    with pytest.raises(OptionError) as caught:
        RunOptions.from_keywords(keywords).plan("true")
    assert refused(text) == str(caught.value)


def test_options_are_values():
    assert line("-t 5 ls") == RunOptions.from_keywords({"timeout": 5})
    assert hash(line("--env A=1 -t 5"))
    assert len({line("-q"), line("-q"), line("")}) == 2


# -- directories, interpreters, files


def test_a_directory_is_expanded_and_made_absolute(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert line("--cwd sub").plan("ls").command.cwd == str(tmp_path / "sub")
    assert line("--cwd ~/sub").plan("ls").command.cwd == str(tmp_path / "sub")


def test_a_directory_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "file").touch()
    assert (
        refused(f"--cwd {tmp_path}/warehose")
        == f"--cwd: no such directory: {tmp_path}/warehose; did you mean warehouse?"
    )
    assert refused(f"--cwd {tmp_path}/file") == f"--cwd: {tmp_path}/file is no directory"
    with pytest.raises(OptionError, match=r"^cwd: no such directory"):
        RunOptions.from_keywords({"cwd": "/nowhere/at/all"}).plan("ls")


def test_an_interpreter_that_is_not_there_is_refused_with_the_nearest():
    assert "--shell: there is no command 'bsh' here; did you mean" in refused("--shell bsh")
    assert "there are " in refused("--shell nothing-like-it")


def test_a_tee_file_needs_its_directory(tmp_path):
    assert refused("--tee /nowhere/log") == "--tee: no such directory: /nowhere"
    assert "is a directory" in refused(f"--tee {tmp_path}")


def test_standard_input_comes_from_a_variable_or_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in put").write_text("x")
    assert line("--stdin rows").variables() == ["rows"]
    for value in ("a\n", b"a\n", bytearray(b"a\n")):
        assert line("--stdin rows").plan("cat", {"rows": value}).command.stdin == b"a\n"
    assert line("--stdin '@in put'").plan("cat").command.stdin == FileInput(str(tmp_path / "in put"))
    assert line("--stdin p").plan("cat", {"p": Path("in put")}).command.stdin == FileInput(str(tmp_path / "in put"))
    assert line("").plan("cat").command.stdin is None


def test_standard_input_that_is_not_there_or_no_text_is_refused(tmp_path):
    assert refused(f"--stdin @{tmp_path}/no") == f"--stdin: no such file: {tmp_path}/no"
    assert refused(f"--stdin @{tmp_path}") == f"--stdin: {tmp_path} is a directory"
    assert (
        refused("--stdin rosw", namespace={"rows": ""})
        == "--stdin: there is no variable 'rosw' in the notebook; did you mean rows?"
    )
    assert "--stdin: a list cannot be given to a command" in refused("--stdin rows", namespace={"rows": ["a"]})
    assert "neither a variable's name nor a file" in refused("--stdin a.txt")


def test_standard_input_of_a_call_is_the_data_itself(tmp_path):
    def stdin(value):
        return RunOptions.from_keywords({"stdin": value}).plan("cat").command.stdin

    assert stdin("rows") == b"rows"
    assert stdin("\udcff") == b"\xff"
    assert stdin(b"\0") == b"\0"
    assert stdin(tmp_path / __file__) == FileInput(__file__)
    assert stdin(None) is None
    with pytest.raises(OptionError, match="stdin: a int cannot be given"):
        stdin(3)


# -- secrets


def test_a_secret_reaches_the_command_and_no_repr():
    options = line("--secret TOKEN --secret KEY")
    assert options.variables() == ["TOKEN", "KEY"]
    plan = options.plan("env", {"TOKEN": "hunter2", "KEY": "k"})
    assert plan.command.secret_env == (("TOKEN", "hunter2"), ("KEY", "k"))
    by_call = RunOptions.from_keywords({"secret": {"TOKEN": "hunter2"}})
    assert by_call.plan("env").command.secret_env == (("TOKEN", "hunter2"),)
    assert "hunter2" not in repr(plan) + repr(by_call)


@pytest.mark.parametrize("value", ["", "hunter2\0", b"hunter2", 7])
def test_a_secret_that_cannot_be_handed_over_is_refused_without_its_value(value):
    message = refused("--secret TOKEN", namespace={"TOKEN": value})
    assert message.startswith("--secret: TOKEN ")
    assert "hunter2" not in message
    with pytest.raises(OptionError) as caught:
        RunOptions.from_keywords({"secret": {"TOKEN": value}})
    assert "hunter2" not in str(caught.value)


def test_a_secret_must_be_there_and_not_be_given_twice():
    assert "there is no variable 'TOKN' in the notebook; did you mean TOKEN?" in refused(
        "--secret TOKN", namespace={"TOKEN": "x"}
    )
    assert "keep one" in refused("--env A=1 --secret A", namespace={"A": "x"})
    with pytest.raises(OptionError, match="secret: give a dict"):
        RunOptions.from_keywords({"secret": ["TOKEN"]})


def test_a_result_needs_a_name_of_python():
    assert "'for' is a word of Python's own" in refused("--out for ls")
    assert "'a.b' is no Python name" in refused("-o a.b ls")


def test_what_belongs_to_an_option_that_is_not_given_is_refused_and_may_stand_in_a_file(places):
    assert refused("--retry-codes 75") == "--retry-codes belongs to --retries N, which is not given"
    assert refused("--backoff 2s") == "--backoff belongs to --retries N, which is not given"
    assert refused("--rate 2") == "--rate belongs to --monitor, which is not given"
    unkept = RunOptions.from_keywords({"max_output": 1, "keep": False})
    with pytest.raises(OptionError, match="max_output counts what is kept, and keep=False keeps nothing"):
        unkept.plan("true")
    user, project, environ = places
    user.write_text("backoff = 9\nretry-codes = [75]\nrate = 2\n")
    options = line("true", settings=Settings(project.parent, environ))
    assert options.plan("true").retry.backoff_s == 9
    switched_off = RunOptions.from_keywords({"retries": 0, "retry_codes": 75, "monitor": False, "rate": 2})
    assert switched_off.plan("true").monitor is None
    for_all = {"retry_codes": frozenset({75})}
    task = TaskOptions.of_task(TaskOptions.read_line("--timeout 5m"), defaults=for_all)
    assert task.plan("true").retry.codes == {75}
    with pytest.raises(OptionError, match="--backoff belongs to --retries N"):
        TaskOptions.of_task(TaskOptions.read_line("--backoff 2s"))


# -- precedence


@pytest.fixture
def places(tmp_path):
    home, project = tmp_path / "home", tmp_path / "home" / "repo"
    (home / ".config" / "xec-magic").mkdir(parents=True)
    (project / ".git").mkdir(parents=True)
    return home / ".config" / "xec-magic" / "config.toml", project / "xec.toml", {"HOME": str(home)}


def test_later_sources_win_and_each_value_knows_who_set_it(places):
    user, project, environ = places
    user.write_text('timeout = "1m"\ngrace = 1\nbackoff = 9\nstrict = false\nquiet = true\nretry-codes = [75]\n')
    project.write_text('timeout = "2m"\ngrace = 2\nbackoff = 8\nstrict = true\n')
    settings = Settings(project.parent, environ | {"XEC_TIMEOUT": "3m", "XEC_GRACE": "3", "XEC_BACKOFF": "7"})
    options = line("-t 5m ls", settings=settings, config={"timeout": "4m", "grace": 4})
    assert (options.timeout, options.grace, options.backoff, options.strict, options.quiet) == (
        300.0,
        4.0,
        7.0,
        True,
        True,
    )
    assert options.sources == {
        "timeout": "the line", "grace": "%config", "backoff": "XEC_BACKOFF", "strict": str(project), "quiet": str(user),
        "retry_codes": str(user),
    }  # fmt: skip
    call = RunOptions.from_keywords({"timeout": None, "quiet": False}, settings=settings)
    assert (call.timeout, call.quiet, call.sources["timeout"]) == (None, False, "the call")


def test_variables_of_all_sources_add_up(places):
    user, project, environ = places
    user.write_text('[env]\nA = "user"\nB = "user"\n')
    options = line("--env B=line --env C=line", settings=Settings(project.parent, environ))
    assert dict(options.env) == {"A": "user", "B": "line", "C": "line"}
    assert options.sources["env"] == f"{user}, the line"


def test_a_standing_directory_that_is_gone_names_its_file(places):
    user, project, environ = places
    user.write_text('cwd = "/nowhere/at/all"\n')
    with pytest.raises(OptionError) as caught:
        line("ls", settings=Settings(project.parent, environ)).plan("ls")
    assert str(caught.value) == f"{user}: cwd: no such directory: /nowhere/at/all"


def test_a_standing_default_can_be_undone_on_the_line(places):
    user, project, environ = places
    user.write_text("strict = false\nlogin = true\nraise = false\ntimeout = 5\n")
    options = line("--strict --no-login --raise -t none", settings=Settings(project.parent, environ))
    assert (options.strict, options.login, options.check, options.timeout) == (True, False, True, None)


def test_a_line_variable_is_a_value_of_its_own():
    assert line("--stdin rows").stdin == Variable("rows")
