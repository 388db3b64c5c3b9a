"""Magics whose modules wait until they are needed."""

import subprocess
import sys
import warnings
from importlib import import_module

import pytest
from IPython.core.interactiveshell import InteractiveShell

from xec_magic import magics
from xec_magic.magics.deferred import FURTHER


@pytest.fixture
def ip(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shell = InteractiveShell()
    magics.load(shell)
    yield shell
    magics.unload(shell)
    shell.history_manager.end_session()


@pytest.mark.parametrize("family", FURTHER, ids=lambda family: family.magic)
def test_each_is_where_the_table_says(family):
    kind = getattr(import_module(f"xec_magic.magics.{family.module}"), family.name)
    assert {name: [*names] for name, names in kind.magics.items() if names} == {
        key: [family.magic] for key in family.kinds
    }


@pytest.mark.parametrize("family", FURTHER, ids=lambda family: family.magic)
def test_each_can_be_asked_about_before_it_is_used(ip, family, capsys):
    assert family.magic in ip.magics_manager.lsmagic()["line"]
    ip.run_cell(f"%{family.magic}?")
    shown = capsys.readouterr().out
    assert f"%{family.magic}" in shown
    assert "_Deferred" not in shown


def test_the_first_use_brings_the_magic_itself(ip, capsys):
    assert "RunsMagics" not in ip.magics_manager.registry
    ip.run_cell("%xec_runs")
    assert "RunsMagics" in ip.magics_manager.registry
    assert type(ip.find_line_magic("xec_runs")).__name__ == "method"


def test_unloading_takes_those_that_were_never_used_as_well(ip):
    magics.unload(ip)
    for kind in ip.magics_manager.magics.values():
        assert not [name for name in kind if name.startswith("xec")]


def test_loading_imports_only_what_runs_commands():
    source = (
        "from IPython.core.interactiveshell import InteractiveShell as S; import sys\n"
        "S.instance().run_line_magic('load_ext', 'xec_magic')\n"
        "print(*[name for name in sys.modules if name.startswith('xec_magic.')])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.removeprefix("xec_magic.") for name in done.stdout.split()}
    further = {f"magics.{name}" for name in ("completion", "batch", "fleet", *(family.module for family in FURTHER))}
    # What plans and standing defaults are made of: half of the time that loading would take.
    assert not loaded & {*further, "command", "plan", "cachepolicy", "fleetpolicy", "inventory", "options.settings"}


def test_the_first_command_imports_only_what_it_needs():
    source = (
        "from IPython.core.interactiveshell import InteractiveShell as S; import sys\n"
        "shell = S.instance(); shell.run_line_magic('load_ext', 'xec_magic')\n"
        "shell.run_cell('%%xec\\necho $HOME')\n"
        "print(*[name for name in sys.modules if name.startswith('xec_magic.')])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.removeprefix("xec_magic.") for name in done.stdout.splitlines()[-1].split()}
    # Values in commands, tables of several results, what is watched, what tests run on.
    assert not loaded & {"quoting.filling", "display.table", "results", "alert", "transport.fake", "inventory"}
