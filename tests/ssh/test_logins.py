"""Logins that are refused, or that wait for the user: what is said, how often it is tried, what is asked."""

from __future__ import annotations

import asyncio
import socket
import subprocess

import pytest
from helpers.marks import needs_root
from helpers.waiting import until
from world import generate_key, public_key

import xec_magic as xec
from xec_magic.command import Target
from xec_magic.transport.ssh import SSHTransport
from xec_magic.transport.ssh.answers import TRIES, Answers
from xec_magic.transport.ssh.certificates import certificate_troubles


def sign(authority, key, *more, principal="", host=False):
    names = ["-n", principal] if principal else []
    kind = ["-h"] if host else []
    command = [
        "ssh-keygen",
        "-q",
        "-s",
        authority,
        "-I",
        "test",
        *kind,
        *names,
        *more,
        key.with_name(key.name + ".pub"),
    ]
    subprocess.run(command, check=True)
    return key.with_name(key.name + "-cert.pub")


# -- certificates -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(world):
    return generate_key(world.dir / "logins_ca")


@pytest.fixture(scope="module")
def certified(world, authority):
    """A server that takes certificates only, and the key that is certified."""
    key = generate_key(world.dir / "logins_certified")
    (world.dir / "nobody").write_text("")
    server = world.sshd(TrustedUserCAKeys=f"{authority}.pub", AuthorizedKeysFile=world.dir / "nobody")
    return server, key


@pytest.mark.parametrize(
    ("more", "principal", "said"),
    [
        (("-V", "20200101Z:20210203Z"), "", r"expired on 2021-02-03 00:00 UTC"),
        (("-V", "20400102Z:20410101Z"), "", r"is not valid before 2040-01-02 00:00 UTC"),
        ((), "bob,alice", r"is for 'bob', 'alice', not for '{user}'"),
        (("-O", "source-address=10.0.0.0/8"), "", r"may be used from 10\.0\.0\.0/8 only"),
        ((), "", r"seems to be valid, so its authority SHA256:\S+ may be unknown there"),
    ],
)
def test_a_certificate_that_a_server_refuses_is_named_with_what_is_wrong(ex, world, certified, more, principal, said):
    server, key = certified
    signer = (
        generate_key(world.dir / f"other_ca_{server.port}") if said.startswith("seems") else world.dir / "logins_ca"
    )
    path = sign(signer, key, *more, principal=principal or world.user)
    target = Target("ssh", "web1", server.address, world.user, server.port, (("key", str(key)),))
    with pytest.raises(xec.AuthError, match=f"the certificate {path} {said.format(user=world.user)}") as caught:
        ex.run("true", target=target)
    assert len(str(caught.value).splitlines()) == 1


def test_a_certificate_that_is_no_longer_valid_by_the_clock_or_cannot_be_read_is_told(world, authority):
    key = generate_key(world.dir / "clocked")
    path = sign(authority, key, "-V", "20200101Z:20210203Z", principal="bob")
    rubbish = world.dir / "rubbish-cert.pub"
    rubbish.write_text("rubbish\n")
    said = certificate_troubles([str(path), str(path), str(rubbish), str(world.dir / "nowhere")], "bob", 1_600_000_000)
    assert [each.split(" ", 3)[3].split(":")[0] for each in said] == [
        "seems to be valid, so its authority SHA256",
        "cannot be read",
    ]


def test_a_hosts_own_certificate_that_has_expired_is_not_taken_for_the_users(ex, world, authority):
    key = generate_key(world.dir / "logins_old_host")
    certificate = sign(authority, key, "-V", "20200101Z:20210203Z", principal="127.0.0.1", host=True)
    server = world.sshd(known=False, HostKey=key, HostCertificate=certificate)
    with world.known_hosts.open("a") as file:
        file.write(f"@cert-authority [127.0.0.1]:{server.port} {public_key(authority)}\n")
    with pytest.raises(xec.HostKeyError, match="the host's own certificate expired"):
        ex.run("true", on=server.spec)


# -- accounts ---------------------------------------------------------------------------------------------


@needs_root
def test_an_expired_account_is_told_at_once_in_the_servers_words(ex, world):
    user = world.account()
    subprocess.run(["chpasswd"], input=f"{user}:some words", text=True, check=True)
    subprocess.run(["chage", "-E", "2020-01-01", user], check=True)
    server = world.sshd(UsePAM="yes")
    with pytest.raises(xec.AuthError, match=f"closes the connection at the login of '{user}'; it said: .*expired"):
        ex.run("true", on=f"{user}@{server.address}:{server.port}")


@needs_root
@pytest.mark.parametrize("options", [{}, {"worker": True}, {"session": "s"}])
def test_a_server_that_closes_each_connection_after_the_login_is_not_asked_for_ever(ex, world, options):
    server = world.sshd(ChrootDirectory="/nowhere")
    with pytest.raises(xec.ConnectError, match="closes the connection before anything runs|connection closed"):
        ex.run("true", on=server.spec, timeout=20, **options)
    assert until(lambda: all(row.busy == 0 for row in ex._engine.ssh_rows() if row.host == server.spec))


# -- the agent --------------------------------------------------------------------------------------------


@pytest.fixture
def silent_agent(tmp_path, monkeypatch):
    """One that takes calls and answers none, as a forwarded one whose connection is dead."""
    path = str(tmp_path / "agent.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        yield path


def test_an_agent_that_does_not_answer_holds_up_no_login_that_needs_a_passphrase(
    ex, world, server, silent_agent, config, monkeypatch
):
    monkeypatch.setattr("xec_magic.transport.ssh.login.AGENT_S", 0.1)
    key = generate_key(world.dir / "locked_beside_agent", "some words")
    config(f"Host locked\n HostName {server.address}\n Port {server.port}\n IdentityFile {key}\n")
    with pytest.raises(xec.AuthError, match="has a passphrase, and nobody can be asked"):
        ex.run("true", on=f"{world.user}@locked", timeout=20)


def test_an_agent_that_does_not_answer_is_named_beside_the_host(ex, world, server, silent_agent, config):
    config(f"Host slow\n HostName {server.address}\n Port {server.port}\n ConnectTimeout 1\n")
    with pytest.raises(xec.ConnectError, match=f"no answer from .*, or from the agent at {silent_agent}, within 1 s"):
        ex.run("true", on=f"{world.user}@slow")


# -- questions --------------------------------------------------------------------------------------------


def settings(connect_timeout_s):
    return (("auth", "password"), ("connect_timeout", str(connect_timeout_s)))


def ping(target, ask):
    async def go():
        ssh = SSHTransport("0123456789cf", ask=ask)
        (found,) = await ssh.ping([target])
        await ssh.close(1)
        return found

    return asyncio.run(go())


def answers_of(told, target=None, kept=None):
    """Answers by a user who types these, and what he was asked."""
    asked = []

    async def ask(text):
        asked.append(text)
        return told.pop(0) if told else None

    target = target or Target("ssh", "web1", "web1")
    return Answers(target, ask, {} if kept is None else kept, asyncio.Lock()), asked


def test_a_wrong_password_is_asked_for_again_as_often_as_ssh_does():
    async def go():
        answers, asked = answers_of(["one", "two", "three", "four"])
        told = []
        while answers.begin():
            told.append(await answers.answer("Password: "))
        assert told == ["one", "two", "three"]
        assert len(told) == TRIES
        assert asked == ["Password of web1: ", *["That is not it. Password of web1: "] * 2]

    asyncio.run(go())


def test_who_gives_no_answer_is_not_asked_again():
    async def go():
        answers, asked = answers_of([])
        assert answers.begin()
        assert await answers.answer("password") is None
        assert not answers.begin()
        assert len(asked) == 1

    asyncio.run(go())


def test_a_password_is_kept_for_the_next_connection_and_a_code_is_not():
    async def go():
        kept = {}
        answers, _ = answers_of(["secret", "123456"], kept=kept)
        assert answers.begin()
        assert [await answers.answer("Password: "), await answers.answer("Verification code: ")] == ["secret", "123456"]
        answers, asked = answers_of(["654321"], kept=kept)
        assert answers.begin()
        assert [await answers.answer("Password: "), await answers.answer("Verification code: ")] == ["secret", "654321"]
        assert asked == ["Verification code of web1: "]
        assert answers.begin()  # it was wrong, then: what was kept is told to no server again
        assert kept == {}

    asyncio.run(go())


def test_a_new_password_and_one_that_is_good_for_once_are_asked_for():
    async def go():
        kept = {}
        answers, asked = answers_of(["old", "123456", "fresh", "fresh"], kept=kept)
        assert answers.begin()
        prompts = [
            "Password: ",
            "One-time password (OATH): ",
            "Current password: ",
            "New password:",
            "Retype new password:",
        ]
        assert [await answers.answer(prompt) for prompt in prompts] == ["old", "123456", "old", "fresh", "fresh"]
        assert len(asked) == 4
        assert [*kept.values()] == ["fresh"]

    asyncio.run(go())


def test_what_a_server_asks_is_one_line():
    async def go():
        answers, asked = answers_of(["123456"])
        assert answers.begin()
        await answers.answer("Code\x1b]0;title\x07\nplease: ")
        assert asked == ["Code?]0;title? please of web1: "]

    asyncio.run(go())


@needs_root
def test_a_password_that_has_expired_can_be_changed(world):
    user = world.account()
    subprocess.run(["chpasswd"], input=f"{user}:tell nobody", text=True, check=True)
    subprocess.run(["chage", "-d", "0", user], check=True)
    server = world.sshd(AuthorizedKeysFile="none", UsePAM="yes", KbdInteractiveAuthentication="yes")

    async def ask(text):
        return "Qw3rty-uiop-9!" if "new" in text.lower() else "tell nobody"

    found = ping(Target("ssh", "web1", server.address, user, server.port, settings(5)), ask)
    assert isinstance(found, float), found


@needs_root
@pytest.mark.parametrize("told", [["tell nobody"], ["wrong", "tell nobody"]])
def test_a_user_who_types_slowly_or_wrong_is_let_in(world, told):
    user = world.account()
    subprocess.run(["chpasswd"], input=f"{user}:tell nobody", text=True, check=True)
    slow = len(told) == 1
    pam = {"UsePAM": "yes", "KbdInteractiveAuthentication": "yes"}  # it makes who was wrong wait for seconds
    server = world.sshd(AuthorizedKeysFile="none", **(pam if slow else {"PasswordAuthentication": "yes"}))
    left = [*told]

    async def ask(_):
        await asyncio.sleep(1.2 * slow)  # longer than a login may take
        return left.pop(0)

    assert isinstance(
        found := ping(Target("ssh", "web1", server.address, user, server.port, settings(1)), ask), float
    ), found
    assert left == []


@needs_root
def test_a_server_that_hangs_up_while_the_user_types_is_connected_to_again(world):
    user = world.account()
    subprocess.run(["chpasswd"], input=f"{user}:tell nobody", text=True, check=True)
    server = world.sshd(UsePAM="no", PasswordAuthentication="yes", AuthorizedKeysFile="none", LoginGraceTime=1)
    asked = []

    async def ask(text):
        asked.append(text)
        if len(asked) == 1:
            await asyncio.sleep(30)  # given up by then
        return "tell nobody"

    assert isinstance(
        found := ping(Target("ssh", "web1", server.address, user, server.port, settings(5)), ask), float
    ), found
    assert len(asked) == 2
