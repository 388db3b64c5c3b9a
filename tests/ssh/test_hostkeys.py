"""Which host keys are trusted, and who is let in: on real servers."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from helpers.marks import needs_root
from helpers.ports import free_port
from world import fingerprint, generate_key, public_key

import xec_magic as xec
from xec_magic.command import Target
from xec_magic.transport.ssh import SSHTransport


@pytest.fixture
def known(world):
    """known_hosts as a test wants it; afterwards as it was."""
    before = world.known_hosts.read_text()
    yield world.known_hosts
    world.known_hosts.write_text(before)


def place(server):
    return f"[{server.address}]:{server.port}"


def target_of(server, **settings):
    return Target("ssh", "web1", server.address, server.world.user, server.port, tuple(sorted(settings.items())))


def test_an_unknown_key_is_refused_with_its_fingerprint_and_the_way_to_accept_it(ex, world, known):
    server = world.sshd(known=False)
    mark = fingerprint(world.host_key)
    with pytest.raises(
        xec.HostKeyError, match=f"{re.escape(mark)}.* is unknown.*%xec_targets --accept {re.escape(mark)} web1"
    ):
        ex.run("true", target=target_of(server))
    assert place(server) not in known.read_text()

    async def accept(wanted):
        return await ex._engine.transports.ssh.accept(target_of(server), wanted)

    with pytest.raises(xec.HostKeyError, match="not the SHA256:other that you accept"):
        ex._engine.ssh_call(lambda _: accept("SHA256:other"))
    assert mark in ex._engine.ssh_call(lambda _: accept(mark))
    assert f"{place(server)} {public_key(world.host_key)}" in known.read_text()
    assert ex.run("echo in", target=target_of(server)).ok
    assert ex._engine.ssh_call(lambda _: accept(mark)) == ""


def test_a_changed_key_is_never_accepted(ex, world, known):
    server = world.sshd(known=False)
    other = generate_key(world.dir / f"other_{server.port}")
    world.know(server, other)
    for target in (target_of(server), target_of(server, accept_new="true")):
        with pytest.raises(
            xec.HostKeyError, match=f"HAS CHANGED.*{re.escape(fingerprint(world.host_key))}.*ssh-keygen -R"
        ) as caught:
            ex.run("true", target=target)
        assert fingerprint(other) in str(caught.value)

    async def accept(_):
        return await ex._engine.transports.ssh.accept(target_of(server), fingerprint(world.host_key))

    with pytest.raises(xec.HostKeyError, match="HAS CHANGED"):
        ex._engine.ssh_call(accept)
    assert public_key(world.host_key) not in [
        line.split(" ", 1)[1] for line in known.read_text().splitlines() if place(server) in line
    ]


def test_a_key_of_another_kind_than_the_known_one_has_changed_too(ex, world, known):
    server = world.sshd(known=False)
    world.know(server, generate_key(world.dir / "rsa_key", kind="rsa"))
    with pytest.raises(xec.HostKeyError, match="HAS CHANGED"):
        ex.run("true", target=target_of(server))


def test_a_revoked_key_is_refused_as_that(ex, world, known):
    server = world.sshd()
    with known.open("a") as file:
        file.write(f"@revoked * {public_key(world.host_key)}\n")
    with pytest.raises(xec.HostKeyError, match="revoked"):
        ex.run("true", target=target_of(server))


def test_hashed_names_are_known(ex, world, known):
    server = world.sshd()
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert place(server) not in known.read_text()
    assert ex.run("true", target=target_of(server)).ok


def test_a_key_signed_by_a_known_authority_is_trusted_and_another_is_not(ex, world, known):
    authority = generate_key(world.dir / "ca")
    signed = generate_key(world.dir / "signed")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority, "-I", "host", "-h", "-n", "127.0.0.1", f"{signed}.pub"],
        check=True,
        capture_output=True,
    )
    server = world.sshd(known=False, HostKey=signed, HostCertificate=f"{signed}-cert.pub")
    with pytest.raises(xec.HostKeyError):
        ex.run("true", target=target_of(server))
    with known.open("a") as file:
        file.write(f"@cert-authority {place(server)},127.0.0.1 {public_key(authority)}\n")
    assert ex.run("true", target=target_of(server)).ok
    plain = world.sshd(known=False)
    with pytest.raises(xec.HostKeyError, match="signed by no authority"):
        ex.run("true", target=target_of(plain, accept_new="true"))


@pytest.fixture
def certified(world):
    """A server whose key an authority has certified, and that authority's key; neither is known."""
    authority = generate_key(world.dir / f"authority_{free_port()}")
    signed = generate_key(world.dir / f"{authority.name}_signed")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority, "-I", "host", "-h", "-n", "127.0.0.1", f"{signed}.pub"],
        check=True,
        capture_output=True,
    )
    return world.sshd(known=False, HostKey=signed, HostCertificate=f"{signed}-cert.pub"), authority


@pytest.mark.parametrize("besides", ["nothing", "as an authority", "the key alone"])
def test_a_key_certified_by_a_revoked_authority_is_refused_as_that(ex, world, known, certified, besides):
    server, authority = certified
    lines = {
        "nothing": "",
        "as an authority": f"@cert-authority * {public_key(authority)}\n",
        "the key alone": f"{place(server)} {public_key(server.host_key)}\n",
    }
    before = f"@revoked * {public_key(authority)}\n{lines[besides]}"
    known.write_text(before)
    for target in (target_of(server), target_of(server, accept_new="true")):
        with pytest.raises(xec.HostKeyError, match="web1: the authority that has certified .* is marked as revoked"):
            ex.run("true", target=target)
    assert known.read_text() == before


@pytest.mark.parametrize("marker", ["@revoked", "@cert-authority"])
def test_a_certificate_of_a_stranger_does_not_hide_a_key_that_is_known(ex, world, known, certified, marker):
    server, _ = certified
    other = generate_key(world.dir / f"stranger_{server.port}")
    known.write_text(f"{marker} * {public_key(other)}\n")
    with pytest.raises(xec.HostKeyError, match="is unknown" if marker == "@revoked" else "signed by no authority"):
        ex.run("true", target=target_of(server))
    world.know(server)
    assert str(ex.run("echo in", target=target_of(server))) == "in"


def test_accept_new_takes_the_first_key_and_writes_it_down(ex, world, known):
    server = world.sshd(known=False)
    assert ex.run("true", target=target_of(server, accept_new="true")).ok
    assert f"{place(server)} {public_key(world.host_key)}" in known.read_text()


def test_no_file_of_known_hosts_means_that_nobody_is_known(ex, world, known):
    server = world.sshd(known=False)
    world.config.write_text(
        "Host *\n  UserKnownHostsFile none\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking no\n"
    )
    try:
        with pytest.raises(xec.HostKeyError, match="is unknown"):
            ex.run("true", target=target_of(server))
    finally:
        world.config.write_text("")


def test_a_line_that_cannot_be_read_costs_only_itself(ex, world, known):
    server = world.sshd(known=False)
    known.write_text("@nonsense x\n|1|bad|worse ssh-ed25519 AAAA\nweb1\n" + known.read_text())
    world.know(server)
    assert ex.run("true", target=target_of(server)).ok


# -- who is let in -----------------------------------------------------------------------------------------


@pytest.fixture
def other_key(world):
    """A key that the servers take, and only that one, with a passphrase; the usual one is away."""
    usual = world.home / ".ssh" / "id_ed25519"
    usual.rename(usual.with_name("away"))
    path = generate_key(world.home / ".ssh" / "id_rsa", passphrase="open sesame")
    with world.authorized.open("a") as file:
        file.write(public_key(path) + "\n")
    yield path
    path.unlink()
    path.with_name("id_rsa.pub").unlink()
    usual.with_name("away").rename(usual)


def asked(server, answers):
    """How often a passphrase is asked for, and what becomes of two connections."""
    import asyncio

    questions: list[str] = []

    async def ask(text):
        questions.append(text)
        return answers.pop(0) if answers else None

    async def go():
        ssh = SSHTransport("0123456789ce", ask=ask)
        targets = [target_of(server), Target("ssh", "web2", server.address, server.world.user, server.port)]
        found = await ssh.ping(targets)
        await ssh.close(1)
        return found

    return questions, asyncio.run(go())


def test_a_passphrase_is_asked_for_once_however_many_hosts_want_the_key(server, other_key):
    questions, found = asked(server, ["open sesame"])
    assert len(questions) == 1
    assert str(other_key) in questions[0]
    assert all(isinstance(seconds, float) for seconds in found)


def test_who_types_a_passphrase_wrong_is_asked_again_and_loses_no_host_by_it(server, other_key):
    questions, found = asked(server, ["open sesam", "", "open sesame"])
    assert [question.startswith("That is not it. Passphrase") for question in questions] == [False, True, True]
    assert all(isinstance(seconds, float) for seconds in found)


def test_a_wrong_passphrase_and_nobody_to_ask_are_told(server, other_key):
    questions, found = asked(server, ["wrong"] * 6)
    assert len(questions) == 6
    assert "is not the passphrase of" in str(found[0])
    _, found = asked(server, [])
    assert "nobody can be asked for it here" in str(found[0])
    assert f"ssh-add {other_key}" in str(found[0])


def test_without_a_terminal_or_a_page_nobody_is_asked(ex, server, other_key):
    with pytest.raises(xec.AuthError, match="nobody can be asked"):
        ex.run("true", on=server.spec)


def test_who_waits_is_asked_in_the_main_thread(ex, server, other_key, monkeypatch):
    import threading

    asked_in = []

    def getpass(text):
        asked_in.append(threading.current_thread())
        return "open sesame"

    monkeypatch.setattr(ex._engine.questions, "_asker", getpass)
    assert ex.run("echo in", on=server.spec).ok
    assert asked_in == [threading.main_thread()]


def test_the_agents_keys_are_used(ex, server, other_key, monkeypatch):
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", "agent.sock"], cwd=server.world.dir, stdout=subprocess.DEVNULL)
    socket = server.world.dir / "agent.sock"
    try:
        from world import until

        assert until(socket.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        open_key = shutil.copy(server.world.key, server.world.dir / "for_agent")
        subprocess.run(["ssh-add", open_key], check=True, capture_output=True)
        assert ex.run("echo in", on=server.spec).ok
    finally:
        agent.terminate()
        agent.wait()
        socket.unlink(missing_ok=True)


def test_a_certificate_lets_in(ex, world, known):
    authority = generate_key(world.dir / "user_ca")
    key = generate_key(world.dir / "certified")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", world.user, f"{key}.pub"],
        check=True,
        capture_output=True,
    )
    (world.dir / "user_ca.trusted").write_text(public_key(authority) + "\n")
    server = world.sshd(TrustedUserCAKeys=world.dir / "user_ca.trusted", AuthorizedKeysFile="none")
    with pytest.raises(xec.AuthError):
        ex.run("true", target=target_of(server))
    assert ex.run("true", target=target_of(server, key=str(key))).ok


@needs_root
def test_a_password_is_only_given_where_it_was_asked_for(world, known):
    user = world.account()
    subprocess.run(["chpasswd"], input=f"{user}:tell nobody", text=True, check=True)
    server = world.sshd(PasswordAuthentication="yes", AuthorizedKeysFile="none")

    def result(answers, **settings):
        import asyncio

        async def ask(_):
            return answers.pop(0) if answers else None

        async def go():
            ssh = SSHTransport("0123456789cf", ask=ask)
            (found,) = await ssh.ping(
                [Target("ssh", "web1", server.address, user, server.port, tuple(settings.items()))]
            )
            await ssh.close(1)
            return found

        return asyncio.run(go())

    assert isinstance(result(["tell nobody"], auth="password"), float)
    answers = ["tell nobody"]
    assert isinstance(result(answers), xec.AuthError)
    assert answers == ["tell nobody"]
    assert "the password was not taken" in str(result(["wrong"], auth="password"))
    assert "nobody can be asked" in str(result([], auth="password"))
