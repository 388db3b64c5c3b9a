"""What a login prints before a command's mark, which comes in any pieces."""

from __future__ import annotations

from xec_magic.transport.ssh.preface import Preface

MARK = b"xec-0123456789ab"


def test_the_last_words_of_a_login_that_come_in_pieces_are_said_once():
    preface = Preface(MARK)
    for piece in (b"welcome\nYour pass", b"word has ", b"expired.\n"):
        assert preface.behind_mark("stderr", piece) is None
    assert preface.last_words() == "Your password has expired."


def test_a_mark_that_comes_in_pieces_is_found_and_is_none_of_the_words():
    preface = Preface(MARK)
    assert preface.behind_mark("stdout", b"hello\n" + MARK[:5]) is None
    assert preface.behind_mark("stdout", MARK[5:] + b":12") is None
    assert preface.behind_mark("stdout", b"3\nits own") == (b":123", b"its own")
    assert preface.is_over("stdout")
    assert not preface.is_over("stderr")
