"""`%xec_profile` in a shell."""

import pytest
from helpers.cells import refusal
from IPython.core.completer import provisionalcompleter


def test_a_line_gives_a_profile_that_shows_itself(run, shell):
    cell = run("p = %xec_profile -n 3 --warmup 0 sleep 0.01")
    assert cell.error is None
    assert shell.user_ns["p"].summaries[0].runs == 3
    assert "sleep 0.01" in run("p").out


def test_a_cell_compares_its_variants_and_keeps_the_profile(run, shell):
    n = "0.01"
    shell.user_ns["n"] = n
    cell = run("%%xec_profile -n 3 --out p\n--- short\nsleep ${{n}}\n--- long\nsleep 0.03")
    assert [variant.name for variant, _ in shell.user_ns["p"].variants] == ["short", "long"]
    assert "ratio (95 %)" in cell.out
    assert "short" in cell.out


def test_a_line_compares_by_vs_and_scans_a_parameter(run, shell):
    run("p = %xec_profile -n 2 --vs 'sleep 0.02' --param n=1,2 sleep 0.0$n")
    assert [variant.title for variant, _ in shell.user_ns["p"].variants] == [
        "sleep 0.0$n [n=1]", "sleep 0.0$n [n=2]", "sleep 0.02 [n=1]", "sleep 0.02 [n=2]",
    ]  # fmt: skip


def test_the_session_is_reported(run):
    run("%%xec --no-raise --label 'the bad one'\nexit 3")
    cell = run("%xec_profile --report")
    assert "1 runs" in cell.out or "1 run" in cell.out
    assert "failed: failed  the bad one" in cell.out


def test_a_failing_command_raises_one_line_and_keeps_what_was_measured(run, shell, tmp_path):
    cell = run(
        f"%%xec_profile -n 9 --warmup 0 --out p\nc=$(cat {tmp_path}/c 2>/dev/null || echo 1); echo $((c+1)) > {tmp_path}/c\n[ $c -lt 7 ]"
    )
    assert type(cell.error).__name__ == "ProfileFailed"
    assert "run 7 of 9" in cell.out + cell.err
    assert len(shell.user_ns["p"].variants[0][1]) == 6


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("%xec_profile", "there is no command"),
        ("%%xec_profile\n  \n", "there is no command"),
        ("%%xec_profile --param n=\nls", "--param: n has no values"),
        ("%%xec_profile -n 0\nls", "runs must lie between"),
        ("%%xec_profile --monitor\nls", "there is no option --monitor"),
        ("%xec_profile --report ls", "--report runs nothing"),
        ("%%xec_profile\nls\n---\nls", "two variants are called 'ls'"),
        ("%%xec_profile\nls ${{nothing}}", "nothing"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(run, source, hint):
    assert hint in refusal(run(source))


def test_tab_completes_its_options_and_those_of_the_monitor(shell):
    def found(text):
        shell.Completer.use_jedi = False
        with provisionalcompleter():
            return {completion.text for completion in shell.Completer.completions(text, len(text))}

    assert {"--param", "--prepare"} <= found("%xec_profile --p")
    assert "--cwd" in found("%%xec_profile --cw")
    assert "--out" in found("%%xec_profile --ou")
    assert found("%xec_monitor sta") == {"start"}
    assert found("%xec_monitor start ker") == {"kernel"}
    assert found("%xec_monitor start kernel --al") == {"--alert"}
