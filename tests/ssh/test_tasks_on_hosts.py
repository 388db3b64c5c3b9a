"""Tasks on hosts, beside tasks here."""

from __future__ import annotations

import pytest

import xec_magic as xec


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_tasks_run_on_hosts_and_here_in_one_graph(server):
    with xec.Executor() as ex:
        r = (
            ex.tasks()
            .add("build", "echo made > artefact; cat artefact", creates="artefact")
            .add("ship", 'echo "on $SSH_CONNECTION"', needs=["build"], on=server.spec)
            .add("check", "echo here", needs=["ship"])
            .run()
        )
    assert r["ship"].stdout.startswith("on 127.0.0.1 ")
    assert [str(r[name].target) for name in r] == ["local", server.spec, "local"]


def test_a_tasks_files_are_those_of_this_machine(server):
    with xec.Executor() as ex, pytest.raises(xec.OptionError, match="task a: creates looks at files of this machine"):
        ex.tasks(on=server.spec).add("a", "true", creates="out")
