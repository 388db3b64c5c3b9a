"""What Tab promises on lines of `%xec` and in cells of `%%xec`."""

import re
import warnings

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from xec_magic import magics
from xec_magic.magics.cache import VERBS
from xec_magic.options import RunOptions

# Terminals and %complete still use the older interface, so it is tested as well.
pytestmark = pytest.mark.filterwarnings("ignore:.Completer.complete. is pending deprecation:PendingDeprecationWarning")


@pytest.fixture
def ip(tmp_path, monkeypatch):
    for name in ("data", "my logs"):
        (tmp_path / name).mkdir()
    for name in ("data.csv", "data/a.csv", "a$b", ".hidden"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shell = InteractiveShell()
    shell.user_ns.update(TOKEN="x", rows=b"x", number=3, tables=["x"])
    monkeypatch.setattr(magics, "_run_ids", lambda: ["r1", "r12", "q3"])
    magics.load(shell)
    yield shell
    magics.unload(shell)
    shell.history_manager.end_session()


def complete(ip, line):
    """The texts that the line could become, by the older interface of terminals."""
    fragment, matches = ip.complete("", line, len(line))
    assert line.endswith(fragment)
    return [line[: len(line) - len(fragment)] + match for match in matches]


def complete_cell(ip, cell):
    """The cells that the cell could become, by the interface of Jupyter; and the kinds."""
    with provisionalcompleter():
        return {cell[: c.start] + c.text: c.type for c in ip.Completer.completions(cell, len(cell))}


@pytest.mark.parametrize("magic", ["%xec ", "%%xec ", "result = %xec ", "  %xec "])
def test_options_are_completed(ip, magic):
    assert complete(ip, magic + "--ti") == [magic + "--timeout"]
    assert complete(ip, magic + "-q --ret") == [magic + "-q --retries", magic + "-q --retry-codes"]


def test_all_options_are_offered_with_their_descriptions(ip):
    found = complete_cell(ip, "%xec --")
    assert set(found) == {"%xec " + option.long for option in RunOptions.SPEC if option.flags}
    assert found["%xec --timeout"] == "End the command after this long (90s, 5m)"
    assert "%xec -t" in complete(ip, "%xec -")


def test_an_option_already_given_is_offered_again_only_if_it_may_be_repeated(ip):
    assert complete(ip, "%xec --timeout 5 --ti") == []
    assert complete(ip, "%xec --env A=1 --en") == ["%xec --env A=1 --env"]


@pytest.mark.parametrize("glue", [" ", "="])
def test_values_of_a_choice_are_completed(ip, glue):
    assert complete(ip, f"%xec --as{glue}js") == [f"%xec --as{glue}json", f"%xec --as{glue}jsonl"]


def test_directories_and_files_are_completed_where_they_belong(ip):
    assert complete(ip, "%xec --cwd da") == ["%xec --cwd data/"]
    assert complete(ip, "%xec --tee data") == ["%xec --tee data.csv", "%xec --tee data/"]
    assert complete(ip, "%xec --tee data/") == ["%xec --tee data/a.csv"]
    assert complete(ip, "%xec --stdin @data.") == ["%xec --stdin @data.csv"]
    assert complete(ip, "%xec --cwd my") == ["%xec --cwd my\\ logs/"]
    assert complete(ip, "%xec --cwd 'my") == ["%xec --cwd 'my logs/"]
    assert complete(ip, "%xec --tee a") == ["%xec --tee a\\$b"]


def test_variables_that_fit_are_completed(ip):
    assert "%xec --secret TOKEN" in complete(ip, "%xec --secret ")
    assert not {"%xec --secret rows", "%xec --secret number", "%xec --secret tables"} & set(
        complete(ip, "%xec --secret ")
    )
    assert complete(ip, "%xec --stdin ro") == ["%xec --stdin rows"]


def test_files_are_completed_in_the_command_and_in_the_body_of_a_cell(ip):
    assert complete(ip, "%xec -q cat data/") == ["%xec -q cat data/a.csv"]
    assert complete(ip, "%xec -- cat data.") == ["%xec -- cat data.csv"]
    assert list(complete_cell(ip, "%%xec -q\nset -x\nwc <data/")) == ["%%xec -q\nset -x\nwc <data/a.csv"]
    assert list(complete_cell(ip, "\n%%xec\ncat my\\ lo")) == ["\n%%xec\ncat my\\ logs/"]


def test_the_line_of_a_cell_has_no_command(ip):
    assert list(complete_cell(ip, "%%xec -q --ti")) == ["%%xec -q --timeout"]
    assert all(kind != "file" for kind in complete_cell(ip, "%%xec -q data").values())


def test_runs_are_completed_by_their_ids(ip):
    for verb in ("stop", "kill", "show", "log", "wait"):
        assert complete(ip, f"%xec_runs {verb} r") == [f"%xec_runs {verb} r1", f"%xec_runs {verb} r12"]
    assert complete(ip, "%xec_runs stop r1 q") == ["%xec_runs stop r1 q3"]
    assert complete(ip, "%xec_runs stop a") == ["%xec_runs stop all"]
    assert "%xec_runs show all" not in complete(ip, "%xec_runs show al")


@pytest.mark.parametrize("magic", ["xec_runs", "xec_pool", "xec_cache"])
def test_all_that_the_help_of_a_magic_names_is_completed(ip, magic):
    told = re.findall(rf"^ *%{magic} ([a-z]+)", ip.find_line_magic(magic).__doc__, re.MULTILINE)
    assert {line.split()[1] for line in complete(ip, f"%{magic} ")} == {*told, "list"}


def test_verbs_of_the_cache_are_completed_and_options_behind_warm(ip):
    assert complete(ip, "%xec_cache ") == [f"%xec_cache {verb}" for verb in VERBS]
    assert complete(ip, "%xec_cache fo") == ["%xec_cache forget"]
    assert complete(ip, "%xec_cache warm --cac")[:2] == ["%xec_cache warm --cache", "%xec_cache warm --cache-key"]
    assert complete(ip, "%xec --cache 5 --depends data.") == ["%xec --cache 5 --depends data.csv"]


def test_within_a_field_python_is_completed(ip):
    assert "%xec echo ${{ number" in complete_cell(ip, "%xec echo ${{ numb")
    assert "%%xec\nls\ncat ${{number" in complete_cell(ip, "%%xec\nls\ncat ${{numb")
    assert complete(ip, "%xec echo ${{ x }} data/") == ["%xec echo ${{ x }} data/a.csv"]


def test_other_lines_are_left_alone(ip):
    assert "number" in complete_cell(ip, "numb")
    assert complete(ip, "%%xecu --ti") == []


def test_a_directory_that_cannot_be_read_gives_nothing(ip):
    assert complete(ip, "%xec --cwd /nowhere/x") == []


def test_loading_twice_completes_once_and_unloading_ends_it(ip):
    before = len(ip.Completer.custom_matchers)
    magics.load(ip)
    assert len(ip.Completer.custom_matchers) == before
    assert complete(ip, "%xec --ti") == ["%xec --timeout"]
    magics.unload(ip)
    magics.unload(ip)
    assert "%xec --timeout" not in complete(ip, "%xec --ti")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%%xec_tasks --dr", {"--dry-run"}),
        ("%%xec_tasks --jobs 2 --no-ke", {"--no-keep-going"}),
        ("%%xec_tasks --out r --b", {"--backoff"}),  # and not --bg, which makes no sense here
        ("%%xec_tasks\nfetch:\n  x\nbuild: fe", {"fetch"}),
        ("%%xec_tasks\nfetch:\n  x\nbuild: fetch --tim", {"--timeout"}),
        ("%%xec_tasks\nfetch:\n  x\nbuild: fetch --cr", {"--creates"}),
        ("%%xec_tasks\nfetch:\n  x\nbuild: fetch --depends dat", {"data/", "data.csv"}),
        ("%%xec_tasks\nfetch:\n  cat data/", {"data/a.csv"}),
    ],
)
def test_in_a_cell_of_tasks_options_names_and_files_complete(ip, cell, expected):
    with provisionalcompleter():
        found = {(cell[c.start : c.end] and c.text) or c.text for c in ip.Completer.completions(cell, len(cell))}
    assert found == expected


def test_on_the_line_of_tasks_the_names_of_the_cell_complete(ip):
    line = "%%xec_tasks --jobs 2 b"
    cell = line + "\nfetch:\n  x\nbuild: fetch\n  y\n"
    with provisionalcompleter():
        assert {c.text for c in ip.Completer.completions(cell, len(line))} == {"build"}


def test_the_magics_of_pools_and_targets_are_completed(ip, monkeypatch):
    monkeypatch.setattr(magics, "_session_names", lambda: ["etl", "export"])
    assert complete(ip, "%xec_pool d") == ["%xec_pool drain"]
    assert complete(ip, "%xec_pool stop e") == ["%xec_pool stop etl", "%xec_pool stop export"]
    monkeypatch.setattr(magics, "_target_names", lambda: ["web1", "db1"])
    assert complete(ip, "%xec_pool close w") == ["%xec_pool close web1"]
    for verb in ("stop", "close", "drain"):
        assert complete(ip, f"%xec_pool {verb} al") == [f"%xec_pool {verb} all"]
    assert complete(ip, "%xec_targets --pi") == ["%xec_targets --ping"]
    assert complete(ip, "%xec_targets --ping w") == ["%xec_targets --ping web1"]
