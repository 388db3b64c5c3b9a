"""`%xec_copy` in an IPython shell, on a real server; and what its views show."""

from __future__ import annotations

import io
import pathlib
import re
from dataclasses import replace

import pytest
from helpers.cells import said
from IPython.core.completer import provisionalcompleter
from IPython.utils.capture import capture_output

import xec_magic as xec
from xec_magic.copied import Copied, CopyResult, Trouble
from xec_magic.display.copyview import SHOWN_HOSTS, CopyView, copy_bundle
from xec_magic.display.mode import Mode
from xec_magic.magics.copy import filled


def test_a_line_copies_shows_a_record_and_gives_the_result(shell, server, tmp_path):
    (tmp_path / "a b").write_text("hello")
    text, done = said(shell, f"r = %xec_copy 'a b' {server.spec}:copied --out kept")
    assert "a b → " in text
    assert "1 file copied, 5 B in" in text
    assert shell.user_ns["r"] is shell.user_ns["kept"]
    assert isinstance(shell.user_ns["r"], xec.CopyResult)
    shell.user_ns.update(names=[pathlib.Path("a b"), "c"], host=[server.spec], it="d*")
    (tmp_path / "c").write_text("c")
    (tmp_path / "d*").write_text("d")
    (tmp_path / "do not").write_text("x")
    text, done = said(shell, "%xec_copy ${{names}} ${{'./' + it}} ${{host}}:${{'odd dir'}}/")
    assert done.success, text
    assert sorted(xec.run("ls 'odd dir'", on=server.spec).lines()) == ["a b", "c", "d*", "do not"]
    said(shell, "xec.run(\"rm -r 'odd dir'\", on=host[0])")
    _, done = said(shell, f"%xec_copy {server.spec}:copied got --quiet")
    assert (tmp_path / "got").read_text() == "hello"


def test_a_value_in_a_word_is_a_name_and_no_pattern_and_no_host():
    values = {
        "name": "a*[1]",
        "colon": "a:b",
        "hosts": ["h1", "h2"],
        "path": pathlib.Path("x:*"),
        "whole": "h1:/*.log",
        "one": 1,
    }
    evaluate = values.__getitem__
    assert filled("h1:/x/${{name}}", evaluate, is_source=True) == ["h1:/x/a[*][[]1]"]
    assert filled("h1:/x/${{name}}", evaluate, is_source=False) == ["h1:/x/a*[1]"]
    assert filled("${{colon}}/x", evaluate, is_source=False) == ["./a:b/x"]
    assert filled("${{hosts}}:/${{colon}}", evaluate, is_source=False) == [(["h1", "h2"], "/a:b")]
    assert filled("web${{one}}:/${{colon}}", evaluate, is_source=False) == ["web1:/a:b"]
    assert filled("@${{one}},${{hosts}}:22:/x", evaluate, is_source=False) == ["@1,h1,h2:22:/x"]
    assert filled("${{path}}", evaluate, is_source=True) == [pathlib.Path("x:*")]
    assert filled("${{whole}}", evaluate, is_source=True) == ["h1:/*.log"]
    assert filled("${{hosts}}", evaluate, is_source=True) == ["h1", "h2"]
    with pytest.raises(xec.TemplateError, match="is a list, but stands for one argument"):
        filled("h1:/${{hosts}}", evaluate, is_source=True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "write what to copy and where to"),
        ("a", "write what to copy and where to"),
        ("a u@h:b --chekcsum", r"there is no option --chekcsum; did you mean --checksum\?"),
        ("a u@h:b --force --force", "--force is given twice"),
        ("a 'b", "a quote is opened and never closed"),
        ("a ${{nope}}", "nope"),
        ("a nohost:b", "there is no target 'nohost'"),
        ("a b", "both are on this machine"),
        ("a u@h:b --out _", "IPython itself uses that name"),
    ],
)
def test_a_wrong_line_is_refused_in_one_line(shell, line, words):
    text, done = said(shell, f"%xec_copy {line}")
    assert type(done.error_in_exec).__name__ == "UsageError"
    assert re.search(words, text), text


def test_a_failure_shows_the_record_and_raises(shell, server):
    text, done = said(shell, f"%xec_copy nope {server.spec}:x")
    assert isinstance(done.error_in_exec, xec.CopyError)
    assert "nope on this machine: no such file or directory" in text
    text, done = said(shell, f"r = %xec_copy nope {server.spec}:x --no-raise")
    assert done.success
    assert not shell.user_ns["r"].ok


def test_tab_completes_options_paths_and_hosts(shell, world, tmp_path, monkeypatch):
    (tmp_path / "file.txt").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host first second\n")

    def complete(text):
        with provisionalcompleter():
            return [each.text for each in shell.Completer.completions(text, len(text))]

    assert complete("%xec_copy --ch") == ["--checksum"]
    assert complete("%xec_copy fi") == ["file.txt", "first:"]
    assert complete("x = %xec_copy file.txt sec") == ["second:"]
    assert complete("%xec_copy file.txt second:/et") == []


# -- views ---------------------------------------------------------------------------------------------


def result_of(*parts):
    return CopyResult("a", "@web:b", parts, 2.0)


def test_a_copy_on_its_way_shows_how_far_it_is():
    half = Copied("web1", "copying", files=1, files_total=2, size_bytes=2**20, total_bytes=2**21, duration_s=2)
    bundle = copy_bundle(result_of(half, Copied("web2", "waiting")))
    assert bundle["text/plain"].splitlines() == [
        "[xec] a → @web:b: 50 % of 2.00 MiB, 512 KiB/s, 0 of 2 hosts done",
        "  web1  copying  50 %, 1 of 2 files",
        "  web2  waiting",
    ]
    assert "<progress max='100' value='50'" in bundle["text/html"]


def test_a_record_without_what_changes_is_the_same_each_time():
    done = Copied("web1", "copied", files=2, size_bytes=100, same=1, duration_s=1.5)
    assert (
        copy_bundle(result_of(done), volatile=False)["text/plain"]
        == "[xec] a → @web:b: 2 files copied, 100 B; 1 there already"
    )


def test_of_many_hosts_those_that_failed_are_all_shown():
    parts = [Copied(f"web{number}", "copied", files=1) for number in range(200)]
    parts[150] = Copied(
        "bad", "failed", error="no space left on device", kept=(Trouble("x", "1 MiB of 2 MiB are kept"),)
    )
    bundle = copy_bundle(result_of(*parts))
    text, page = bundle["text/plain"], bundle["text/html"]
    red = re.findall(r"<(?:b|div|td)[^>]*color:#b3261e[^>]*>([^<]*)", page)
    assert [words.partition(":")[0] for words in red] == ["a → @web", "failed", "bad"]
    assert "1 of 200 hosts not complete" in text
    assert "bad" in text
    assert "no space left on device" in text
    assert "bad: x: 1 MiB of 2 MiB are kept" in text
    assert f"… and {200 - SHOWN_HOSTS} hosts more that are well" in text


def test_secrets_are_masked_in_what_is_shown():
    done = Copied("web-hunter2", "failed", failures=(Trouble("/srv/hunter2", "permission denied"),), error="no hunter2")
    result = CopyResult("web:/srv/hunter2", "hunter2/", [done, replace(done, state="interrupted")])
    bundle = copy_bundle(result, mask=lambda text: text.replace("hunter2", "***"))
    assert "hunter2" not in bundle["text/plain"] + bundle["text/html"]
    assert bundle["text/plain"].count("***") == 10


def test_results_can_be_chosen_from_and_become_a_frame():
    result = result_of(Copied("web1", "copied", files=1, size_bytes=5), Copied("web2", "failed", error="lost"))
    assert result.failed.targets == ["web2"]
    assert result[:1].ok
    assert not result
    assert list(result.df()["error"]) == ["", "lost"]
    with pytest.raises(xec.CopyError, match=r"1 of 2 hosts failed: web2 \(lost\)"):
        result.check()


def test_on_a_page_a_longer_copy_shows_how_it_goes_on_and_is_replaced_by_its_record(shell):
    shown = []
    view = CopyView(Mode.WIDGET, mask=str)
    half = result_of(Copied("web1", "copying", files_total=1, size_bytes=1, total_bytes=2))
    with capture_output() as captured:
        view.pump(lambda: shown.append("too early"))  # a short copy shows its record alone
        assert captured.outputs == []
        view._opens_at = 0.0
        view.pump(lambda: half)
        view._output.update = lambda data, raw: shown.append(data["text/plain"])
        view.close(result_of(Copied("web1", "copied", files=1, size_bytes=2)))
    assert [output.data["text/plain"] for output in captured.outputs] == [copy_bundle(half)["text/plain"]]
    assert [text.partition(" in ")[0] for text in shown] == ["[xec] a → @web:b: 1 file copied, 2 B"]


def test_in_a_terminal_one_line_says_how_it_goes_on(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", screen)
    view = CopyView(Mode.TEXT, mask=str)
    view._opens_at = 0.0
    view.pump(lambda: result_of(Copied("web1", "copying", files_total=1, size_bytes=1, total_bytes=2)))
    view.close(result_of(Copied("web1", "copied", files=1, size_bytes=2)))
    pieces = screen.getvalue().split("\r")
    assert pieces[1] == "[xec] a → @web:b: 50 % of 2 B, 0 B/s"
    assert pieces[2].strip() == ""
    assert pieces[3].startswith("[xec] a → @web:b: 1 file copied, 2 B in 2 s")
