"""Start-up files of a login that close or redirect its streams: nothing runs whose output or input would be lost, and nothing waits."""

from __future__ import annotations

import pytest
from helpers.marks import needs_root
from helpers.waiting import until
from world import environ_has

import xec_magic as xec

pytestmark = needs_root

WAYS = [{}, {"stdin": "input"}, {"worker": True}, {"session": "s"}, {"session": "s", "shell": "sh"}]


@pytest.fixture
def login(world, server):
    """A login whose start-up file says this."""

    def make(text):
        user = world.account()
        (world.dir / user / ".bashrc").write_text(text + "\n")
        (world.dir / user).chmod(0o777)
        return f"{user}@{server.address}:{server.port}", world.dir / user / "ran"

    return make


@pytest.mark.parametrize("text", ["exec >&-", "exec >/dev/null", "exec >~/log"])
def test_where_standard_output_leads_nowhere_nothing_runs_and_that_is_said(ex, login, text):
    on, ran = login(text)
    for options in WAYS:
        with pytest.raises(
            xec.SpawnError, match=f"{on}: a start-up file of the login closes or redirects its standard output"
        ) as caught:
            ex.run(f": >{ran}; echo out", on=on, **options)
        assert len(str(caught.value).splitlines()) == 1
    assert not ran.exists()
    ex._engine.ssh_call(lambda ssh: ssh.close(1))
    assert until(lambda: not environ_has(f"XEC_RUN_ID={ex._engine.kernel_id}."))


def test_nothing_of_a_session_that_could_not_begin_is_left(ex, login):
    for text in ("exec >&-", "exec 2>&-", "exec <&-"):
        on, _ = login(text)
        with pytest.raises(xec.SpawnError, match="a start-up file"):
            ex.run("true", on=on, session="s")
    assert until(lambda: all(row.busy == 0 for row in ex._engine.ssh_rows()))
    assert until(lambda: not environ_has(f"XEC_RUN_ID={ex._engine.kernel_id}."))


@pytest.mark.parametrize("text", ["exec 2>&-", "exec 2>/dev/null"])
def test_where_standard_error_leads_nowhere_a_session_says_so_and_a_command_runs(ex, login, text):
    on, _ = login(text)
    for options in WAYS:
        if "session" not in options:
            assert str(ex.run("echo out", on=on, **options)) == "out"
            continue
        with pytest.raises(
            xec.SpawnError, match=f"{on}: a start-up file of the login closes or redirects its standard error"
        ):
            ex.run("echo out", on=on, **options)


@pytest.mark.parametrize("text", ["exec <&-", "exec </dev/null"])
def test_where_standard_input_leads_nowhere_no_command_that_has_some_runs_without_it(ex, login, text):
    on, ran = login(text)
    assert str(ex.run("cat; echo out", on=on)) == "out"
    for options in (
        {"stdin": "input"},
        {"secret": {"TOKEN": "hidden"}},
        {"session": "s"},
        {"session": "s", "shell": "sh"},
    ):
        with pytest.raises(
            xec.SpawnError, match=f"{on}: a start-up file of the login closes or redirects its standard input"
        ):
            ex.run(f": >{ran}; cat", on=on, **options)
    with pytest.raises(xec.SpawnError, match="standard input"):
        ex.start("echo input").pipe(ex.start(f": >{ran}; cat", on=on)).result(20)
    assert not ran.exists()


@pytest.mark.parametrize("text", ["set -x", "set -v", "trap 'echo \"$BASH_COMMAND\"' DEBUG"])
def test_where_the_login_shell_shows_what_it_runs_that_is_none_of_the_commands(ex, login, text):
    on, _ = login(text)
    for options in WAYS[:-1]:
        result = ex.run("echo out; echo err >&2", on=on, **options)
        assert (result.stdout, result.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize("text", ["read -r line", "cat"])
def test_a_start_up_file_that_reads_its_input_takes_nothing_of_a_command(ex, login, text):
    on, ran = login(f"echo >>~/logins; {text}")
    logins = ran.with_name("logins")
    for word in ("one", "two"):  # from the second one on a channel is there for the next
        assert str(ex.run(f"echo {word}", on=on, shell="sh")) == word
    assert until(lambda: len(logins.read_text()) > 2)  # of the shell that is to wait
    assert str(ex.run("echo three", on=on, shell="sh")) == "three"
    eaten = [{"stdin": "input\n"}, {"secret": {"TOKEN": "hidden"}, "stdin": "input\n"}]
    if text != "cat":  # which goes on until its input ends
        eaten += [{"session": "s"}, {"session": "t", "shell": "bash"}]
    for options in eaten:
        with pytest.raises(xec.SpawnError, match=r"closes or redirects its standard input \(exec <…\), or reads it"):
            ex.run(f": >{ran}; cat", on=on, **{"shell": "sh", **options})
    assert not ran.exists()
