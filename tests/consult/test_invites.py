import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.errors import InviteExpired, InviteUnknown, InviteUsed, SessionRefused
from consult.invites import INVITE_LIFE_S, SESSION_LIFE_S, InviteBook, Role, SessionBook


def test_an_invite_works_once():
    book = InviteBook()
    code = book.issue("room", Role.EXPERT, 0.0)
    assert book.redeem(code, 1.0) == ("room", Role.EXPERT)
    with pytest.raises(InviteUsed):
        book.redeem(code, 2.0)


def test_an_invite_lives_for_fifteen_minutes():
    book = InviteBook()
    code = book.issue("room", Role.EXPERT, 100.0)
    other = book.issue("room", Role.EXPERT, 100.0)
    assert book.redeem(code, 100.0 + INVITE_LIFE_S - 0.001)
    with pytest.raises(InviteExpired):
        book.redeem(other, 100.0 + INVITE_LIFE_S)


def test_codes_are_256_bits_and_only_their_hash_is_kept():
    book, sessions = InviteBook(), SessionBook()
    code = book.issue("room", Role.EXPERT, 0.0)
    token, _ = sessions.open("room", Role.EXPERT, "", 0.0)
    assert len(code) == len(token) == 43
    assert code not in repr(book)
    assert token not in repr(sessions)
    assert len({book.issue("room", Role.EXPERT, 0.0) for _ in range(100)}) == 100


def test_no_code_reads_as_a_flag_on_a_command_line():
    book = InviteBook()
    assert all(book.issue("room", Role.EXPERT, 0.0)[0].isalnum() for _ in range(1000))


@given(st.text(max_size=60))
def test_any_other_text_is_no_invite(text):
    book = InviteBook()
    code = book.issue("room", Role.EXPERT, 0.0)
    if text != code:
        with pytest.raises(InviteUnknown):
            book.redeem(text, 1.0)
    assert book.redeem(code, 1.0)


def test_invites_are_forgotten_a_day_after_their_end():
    book = InviteBook()
    code = book.issue("room", Role.EXPERT, 0.0)
    book.issue("room", Role.EXPERT, 48 * 3600.0)
    with pytest.raises(InviteUnknown):
        book.redeem(code, 48 * 3600.0)


def test_a_session_is_of_one_room_and_ends():
    book = SessionBook()
    token, session = book.open("a", Role.EXPERT, "Li", 0.0)
    assert book.find(token, "a", 1.0) is session
    for wrong in ((token, "b", 1.0), (token, "a", SESSION_LIFE_S), ("x", "a", 1.0), (None, "a", 1.0), ("", "a", 1.0)):
        with pytest.raises(SessionRefused):
            book.find(*wrong)


def test_a_renewed_session_keeps_the_person_and_lets_the_old_token_die():
    book = SessionBook()
    token, session = book.open("a", Role.EXPERT, "Li", 0.0)
    fresh = book.renew(token, "a", 1000.0)
    assert fresh != token
    assert book.find(token, "a", 1030.0).person == session.person
    assert book.find(fresh, "a", 1000.0 + SESSION_LIFE_S - 1).person == session.person
    with pytest.raises(SessionRefused):
        book.find(token, "a", 1061.0)


def test_a_closed_room_has_no_sessions():
    book = SessionBook()
    token, _ = book.open("a", Role.EXPERT, "", 0.0)
    other, _ = book.open("b", Role.EXPERT, "", 0.0)
    book.close_room("a")
    with pytest.raises(SessionRefused):
        book.find(token, "a", 1.0)
    assert book.find(other, "b", 1.0)


def test_a_session_ends_with_its_account_and_with_what_the_account_may_be():
    book = SessionBook()
    tokens = {name: book.open("a", Role.LEAD, name, 0.0, name)[0] for name in ("li", "zhao", "chen", "ma")}
    guest, _ = book.open("a", Role.LEAD, "guest", 0.0)
    gone = book.close_accounts({"li": Role.LEAD, "zhao": Role.EXPERT, "chen": None})
    assert len(gone) == 3
    for token in (tokens["li"], guest):
        assert book.find(token, "a", 1.0)
    for name in ("zhao", "chen", "ma"):
        with pytest.raises(SessionRefused):
            book.find(tokens[name], "a", 1.0)
