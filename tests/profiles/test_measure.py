import json

import pytest

import xec_magic as xec
from xec_magic.command import Command
from xec_magic.errors import OptionError, ProfileFailed
from xec_magic.options.profile import ProfileOptions, split_variants
from xec_magic.plan import Plan
from xec_magic.profiles.comparison import Measured, Profile, Variant


def one(wall_s, code=0):
    return Measured(wall_s, wall_s / 2, 0.0, 100, 7, 8, code)


def made(*groups, startup=0.0, values=()):
    """A profile of known numbers: each group is the seconds of a variant."""
    variants = []
    for at, times in enumerate(groups):
        value = values[at] if values else None
        variant = Variant(f"v{0 if values else at}", Plan(Command("x")), "n" if values else "", value)
        variants.append((variant, tuple(map(one, times))))
    return Profile(tuple(variants), {"local": one(startup)} if startup else {}, "warm")


def test_each_variant_runs_as_often_as_said_and_they_take_turns(tmp_path):
    log = tmp_path / "log"
    p = xec.profile("", {"a": f"echo a >> {log}", "b": f"echo b >> {log}"}, runs=3, warmup=1)
    assert log.read_text().split() == list("ab" + "ab" + "ba" + "ab")
    assert [len(runs) for _, runs in p.variants] == [3, 3]


def test_what_a_ratio_cannot_tell_is_not_said():
    column = made([1.0], [2.0]).table()[0].index("ratio (95 %)")
    assert made([1.0], [2.0]).table()[1][1][column] == "2.00"
    assert made([1.0, 2.0], [2.0, 4.0]).table()[1][1][column] == "2.00 (2.00–2.00)"
    assert made([1.0, 0.001], [2.0, 4.0], startup=0.01).table()[1][1][column] == ""


def test_prepare_runs_before_each_run_and_cleanup_once_at_the_end(tmp_path):
    log = tmp_path / "log"
    xec.profile(
        "x", f"echo run >> {log}", runs=2, warmup=1, prepare=f"echo prepare >> {log}", cleanup=f"echo end >> {log}"
    )
    assert log.read_text().split() == ["prepare", "run"] * 3 + ["end"]


def test_the_parameter_is_a_variable_of_the_command_and_of_prepare(tmp_path):
    log = tmp_path / "log"
    p = xec.profile(
        "x", f"echo $n >> {log}", runs=1, warmup=0, param={"n": [1, 20]}, prepare=f"echo prepare $n >> {log}"
    )
    assert log.read_text().splitlines() == ["prepare 1", "1", "prepare 20", "20"]
    assert [variant.title for variant, _ in p.variants] == ["x [n=1]", "x [n=20]"]


def test_a_command_that_fails_on_run_seven_says_so_and_keeps_what_was_measured(tmp_path):
    count, gone = tmp_path / "count", tmp_path / "gone"
    script = f'c=$(cat {count} 2>/dev/null || echo 1); echo $((c+1)) > {count}; [ $c -lt 7 ] || {{ echo "no more" >&2; exit 5; }}'
    with pytest.raises(ProfileFailed, match="run 7 of 10 of 'steps' failed") as caught:
        xec.profile("steps", script, warmup=0, cleanup=f"touch {gone}")
    error = caught.value
    assert "6 before it took" in str(error)
    assert "no more" in str(error)
    assert error.exit_code == 5
    assert len(error.profile.variants[0][1]) == 6
    assert gone.exists()


def test_a_failing_command_can_be_measured_when_that_is_wanted():
    p = xec.profile("x", "exit 3", runs=2, check=False)
    assert [run.exit_code for run in p.variants[0][1]] == [3, 3]
    assert any("did not end with exit code 0" in warning for warning in p.warnings)


def test_a_prepare_that_fails_ends_it():
    with pytest.raises(ProfileFailed, match="--prepare failed: exit code 4"):
        xec.profile("x", "true", prepare="exit 4")


def test_a_cleanup_that_fails_does_not_hide_why_it_ended():
    with pytest.raises(ProfileFailed, match="failed .none was measured") as caught:
        xec.profile("x", "exit 3", warmup=0, cleanup="exit 4")
    assert "--cleanup failed" in caught.value.__notes__[0]


def test_the_shells_start_is_measured_and_taken_off():
    p = xec.profile("x", "sleep 0.05", runs=5)
    assert 0 < p.startup.wall_s < 0.05
    assert p.times(0)[0] == pytest.approx(p.variants[0][1][0].wall_s - p.startup.wall_s)
    assert 0.03 < p.summaries[0].wall.median < 0.2


def test_an_interrupt_keeps_what_was_measured():
    import _thread

    rounds = []

    def wait(run):
        rounds.append(run)
        if len(rounds) == 4:
            _thread.interrupt_main()
        return run.wait()

    from xec_magic.profiles.measure import Course, measure

    variants = [Variant("x", Plan(Command("sleep 0.1")))]
    with pytest.raises(KeyboardInterrupt) as caught:
        measure(xec.runtime.current().executor, variants, Course(runs=9, warmup=0), wait=wait)
    assert len(caught.value.profile.variants[0][1]) >= 1


# -- what is wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"runs": 0}, "runs must lie between"),
        ({"param": "n="}, "n has no values"),
        ({"param": "n"}, "there is no ="),
        ({"param": "n=1,1"}, "the value 1 twice"),
        ({"param": "2=1"}, "no name of a variable"),
        ({"vs": "x"}, "two variants are called 'x'"),
        ({"rums": 3}, "did you mean runs"),
        ({"tee": "f"}, "there is no option 'tee'"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_runs(options, hint, tmp_path):
    with pytest.raises(OptionError, match=hint):
        xec.profile("x", f"touch {tmp_path}/f", **options)
    assert not list(tmp_path.iterdir())


def test_there_must_be_a_command():
    with pytest.raises(OptionError, match="no command"):
        xec.profile("x", "  ")


def test_a_cell_is_split_at_its_dashes():
    assert split_variants("a\nb\n---\nc\n") == [("", "a\nb\n"), ("", "c\n")]
    assert split_variants("--- one\na\n---   two words  \nc") == [("one", "a\n"), ("two words", "c")]
    assert split_variants("a -- b\n--x\n") == [("", "a -- b\n--x\n")]
    with pytest.raises(OptionError, match="no command below --- b"):
        split_variants("a\n--- b\n\n--- c\nd")


def test_a_line_holds_own_options_and_those_of_runs():
    options, rest = ProfileOptions.from_line("-n 3 --cwd / --vs 'ls -l' -- ls", cell=False, settings=None, config=None)
    assert (options.runs, options.run.cwd, options.vs, rest) == (3, "/", ("ls -l",), "ls")


# -- numbers and their forms -------------------------------------------------------------------------


def test_the_ratio_is_to_the_first():
    p = made([1.0] * 8, [2.0] * 8)
    assert p.summaries[0].ratio is None
    assert p.summaries[1].ratio == (2.0, 2.0, 2.0)


def test_what_grows_with_the_square_is_found():
    p = made([1.0], [4.0], [16.0], values=("1", "2", "4"))
    assert p.growth["v0"].exponent == pytest.approx(2)
    assert made([1.0], [4.0], values=("small", "large")).growth == {}


def test_warnings_name_outliers_drift_and_what_is_too_short():
    warnings = "\n".join(made([0.1, 0.101, 0.1, 0.099, 0.9]).warnings)
    assert "1 of 5 runs" in warnings
    assert "run 5" in warnings
    assert "slower" in "\n".join(made([0.1 + number / 50 for number in range(12)]).warnings)
    assert "shorter than" in "\n".join(made([0.012, 0.0121], startup=0.01).warnings)
    assert made([0.1, 0.101, 0.1]).warnings == ()


def test_json_is_what_readers_of_hyperfine_expect():
    data = json.loads(made([1.0, 2.0], [3.0, 5.0], startup=0.5, values=("1", "2")).to_json())
    first = data["results"][0]
    assert set(first) >= {"command", "mean", "stddev", "median", "user", "system", "min", "max", "times", "exit_codes"}
    assert first["times"] == [0.5, 1.5]
    assert first["mean"] == 1.0
    assert first["parameters"] == {"n": "1"}
    assert first["memory_usage_byte"] == [100, 100]
    assert data["xec"]["startup_s"] == 0.5


def test_a_frame_has_a_row_a_run_and_markdown_a_row_a_variant():
    p = made([1.0, 2.0], [3.0, 5.0])
    assert list(p.df()["run"]) == [1, 2, 1, 2]
    assert p.df()["time_s"].tolist() == [1.0, 2.0, 3.0, 5.0]
    assert p.to_markdown().count("\n") == 3
    assert "| v1 |" in p.to_markdown()


def test_what_was_not_measured_is_left_out_and_never_zero():
    bare = Measured(1.0, None, None, None, None, None, 0)
    p = Profile(((Variant("x", Plan(Command("x"))), (bare,)),), {}, "warm")
    head, _ = p.table()
    assert not {"user", "peak memory", "read"} & set(head)
    assert p.summaries[0].cpu_user_s is None


def test_the_commands_of_a_session_are_measured_in_its_shell():
    xec.run("base=7; count=0", session="measured")
    p = xec.profile("x", "count=$((count + 1)); test $base = 7", session="measured", runs=4, warmup=1)
    assert len(p.times(0)) == 4
    assert str(xec.run("echo $count", session="measured")) == "5"
    assert p.startup.wall_s < 0.05
