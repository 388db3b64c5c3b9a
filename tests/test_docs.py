"""Every example of README.md and docs/ is run, and prints what the page says.

What a page may hold:

- a block ``ipython`` is a cell. The cells of a page are run in order in one IPython shell, in an empty directory, with
  XEC_UI=text. A cell that must fail says so in a comment: ``# raises NonZeroExit``.
  ``# Python 3.14`` on its first line runs from that version on.
- a block ``text`` that directly follows a cell is what that cell prints; ``...`` stands for anything.
- a block ``python`` has prompts (``>>>``) and is run by ``pytest --doctest-glob='*.md' README.md docs``.
- a block ``toml`` names its file in its first line, ``# xec.toml``, and is put into the cells' directory.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import re
import runpy
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from traitlets.config import Config

from xec_magic import errors, runtime
from xec_magic.options import RunOptions
from xec_magic.outcome import Outcome

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"ipython", "text", "python", "toml", "sh", "{eval-rst}", "{toctree}", "{note}"}

FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
RAISES = re.compile(r"#\s*raises (\w+)")
# What differs from run to run, and so need not be equal.
VOLATILE = [
    (re.compile(r"(?<![\w.])\d+(?:\.\d+)? (?:µs|ms|s)\b"), "TIME"),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"^Out\[\d+\]:[ \n]?", re.MULTILINE), ""),
]


@dataclass
class Block:
    language: str
    text: str
    line: int
    output: str | None = None  # what the page says that it prints

    @property
    def raises(self) -> str | None:
        found = RAISES.search(self.text)
        return found[1] if found else None

    @property
    def since(self) -> tuple[int, ...]:
        found = re.match(r"# Python (\d+)\.(\d+)$", self.text, re.MULTILINE)
        return (int(found[1]), int(found[2])) if found else (3,)


def blocks_of(page: Path) -> list[Block]:
    source = page.read_text("utf-8")
    blocks: list[Block] = []
    end = 0
    for match in FENCE.finditer(source):
        block = Block(match[1], match[2], source.count("\n", 0, match.start()) + 1)
        if (
            block.language == "text"
            and blocks
            and blocks[-1].language == "ipython"
            and not source[end : match.start()].strip()
        ):
            blocks[-1].output = block.text
        blocks.append(block)
        end = match.end()
    return blocks


def plain(text: str) -> str:
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def agrees(expected: str, got: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in plain(expected).split("..."))
    return re.fullmatch(pattern, plain(got), re.DOTALL) is not None


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """An IPython shell of its own, in an empty directory, with the extension loaded."""
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setenv("XEC_UI", "text")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("LC_ALL", "C")
    for name in [name for name in os.environ if name.startswith("XEC_") and name != "XEC_UI"]:
        monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # the shell puts its own there
    runtime.close()
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.history_load_length = 0
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=config)
    made.extension_manager.load_extension("xec_magic")
    yield made
    made.extension_manager.unload_extension("xec_magic")
    made.atexit_operations()
    atexit.unregister(made.atexit_operations)  # a second time it fails
    InteractiveShell.clear_instance()


@pytest.fixture
def hosts(monkeypatch):
    """The hosts of the pages that have some: names of a real server on loopback, and a home that knows them."""
    sys.path.insert(0, str(Path(__file__).parent / "ssh"))
    import shutil
    import tempfile

    from world import World

    world = World(Path(tempfile.mkdtemp(prefix="xec-ssh-test-")))
    server = world.sshd()
    world.config.write_text(
        f"Host web1 web2\n  HostName {server.address}\n  Port {server.port}\n  User {world.user}\n"
        f"  UserKnownHostsFile {world.known_hosts}\n"
    )
    monkeypatch.setenv("HOME", str(world.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield world
    runtime.close()
    world.close()
    shutil.rmtree(world.dir, ignore_errors=True)


def run_cell(shell, source: str) -> tuple[str, BaseException | None]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        done = shell.run_cell(source, store_history=True)
    return printed.getvalue(), done.error_before_exec or done.error_in_exec


def with_cells() -> list[Path]:
    return [page for page in PAGES if any(block.language == "ipython" for block in blocks_of(page))]


@pytest.mark.parametrize("page", with_cells(), ids=lambda page: page.name)
def test_every_cell_of_a_page_does_what_the_page_says(page, shell, request):
    if page.name in {"ssh.md", "transfers.md", "monitoring.md", "profiling.md", "workers.md"}:
        request.getfixturevalue("hosts")
    for block in blocks_of(page):
        where = f"{page.name}, line {block.line}"
        if block.language == "toml":
            first = block.text.partition("\n")[0]
            Path(first.removeprefix("# ").strip()).write_text(block.text, "utf-8")
        if block.language != "ipython" or sys.version_info < block.since:
            continue
        printed, error = run_cell(shell, block.text)
        assert type(error).__name__ == (block.raises or "NoneType"), f"{where}: {error!r}\n{block.text}\n{printed}"
        if block.output is not None:
            assert agrees(block.output, printed), (
                f"{where} prints\n\n{plain(printed)}\n\nand not\n\n{plain(block.output)}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_holds_only_blocks_that_something_checks(page):
    for block in blocks_of(page):
        where = f"{page.name}, line {block.line}"
        assert block.language in LANGUAGES, f"{where}: nothing checks a block of {block.language!r}"
        if block.language == "python":
            assert ">>>" in block.text, (
                f"{where}: a python block without prompts is run by nobody; make it a cell (ipython)"
            )
        if block.language == "toml":
            assert re.match(r"# [\w.]+\.toml\n", block.text), f"{where}: its first line must name its file"
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target or target.startswith("#"):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve()
        assert other.exists(), f"{page.name} links to {target}, which is not there"
        if anchor and other.suffix == ".md":
            heads = re.findall(r"^#+ (.+)$", other.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in anchors, f"{page.name} links to {target}; {name} has {', '.join(anchors)}"


def test_the_notebook_of_options_has_every_option():
    cells = json.loads((ROOT / "notebooks" / "run.ipynb").read_text("utf-8"))["cells"]
    lines = ["".join(cell["source"]).partition("\n")[0] for cell in cells if cell["cell_type"] == "code"]
    used = {word for line in lines for word in line.split() if line.startswith("%%xec")}
    assert [option.long for option in RunOptions.SPEC if option.flags and option.long not in used] == []


@pytest.mark.parametrize("name", ["quickstart", "run", "caching", "tasks", "fleet", "runbook-disk-full"])
def test_a_stored_notebook_holds_static_outputs_and_nothing_of_its_machine(name):
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8")
    notebook = json.loads(text)
    assert all(cell["outputs"] or cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert "widget" not in json.dumps(notebook["metadata"]) + json.dumps([c.get("outputs") for c in notebook["cells"]])
    assert not re.search(r"/(?:root|home|Users|work)/", text)
    assert len(text) < 90_000


def test_pages_name_all_magics_errors_outcomes_and_switches(shell):
    pages = {
        name: (ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in ("quickstart", "results", "configuration")
    }
    found = {f"%{name}" for name in shell.magics_manager.magics["line"] if name.startswith("xec")}
    found |= {f"%%{name}" for name in shell.magics_manager.magics["cell"] if name.startswith("xec")}
    assert set(re.findall(r"`(%+xec\w*)`", pages["quickstart"])) == found - {"%xec_tasks"}
    tree = errors.__doc__.partition("::\n\n")[2].rstrip()
    assert re.sub("^    ", "", tree, flags=re.MULTILINE) in pages["results"]
    assert {f"`{outcome.value}`" for outcome in Outcome} <= set(re.findall(r"`[a-z ]+`", pages["results"]))
    assert [
        option.counter
        for option in RunOptions.SPEC
        if option.counter and f"`{option.counter}`" not in pages["configuration"]
    ] == []


def test_the_floors_are_those_that_imports_are_held_to():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    drawn = page.partition("## Floors")[2].partition("```text\n")[2].partition("```")[0]
    assert [re.split(r"  +", line)[0] for line in drawn.splitlines()] == contract["layers"]


def test_options_in_running_text_keep_their_dashes():
    assert runpy.run_path(str(ROOT / "docs" / "conf.py"))["smartquotes"] is False


def test_every_page_is_in_the_table_of_contents():
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = re.search(r"```\{toctree\}.*?```", index, re.DOTALL)[0].split()
    missing = [
        page.stem for page in PAGES if page.parent.name == "docs" and page.stem != "index" and page.stem not in listed
    ]
    assert not missing
