"""What the laptop says is said again until it was heard, and no longer."""

from __future__ import annotations

import json

from consult.messages import Chat, Decide, Event, Result, Seen, Stop
from consult.spokenwords import SpokenWords


def event(kind, ident, who=None, **body):
    return Event(n=1, t_us=1, kind=kind, who=who or {}, id=ident, text="", body=body)


def out(words):
    said = []
    while (text := words.take()) is not None:
        said.append(json.loads(text)["type"])
    return said


def test_everything_is_repeated_until_its_event_came():
    words = SpokenWords()
    for message in (
        Chat("c", "hello"),
        Seen("r", {}),
        Decide("r", "0" * 64, "approve"),
        Result("r", "done", {}),
        Stop(),
    ):
        words.say(message)
    assert words.has_unsent
    assert out(words) == ["chat", "seen", "decide", "result", "stop"]
    words.hear(event("decision", "r"))
    words.hear(event("decision", "other"))
    words.repeat()
    assert out(words) == ["chat", "seen", "result", "stop"]
    for kind, ident in (("chat", "c"), ("seen", "r"), ("result", "r"), ("stop", "")):
        assert words
        words.hear(event(kind, ident, stopped=True))
    assert not words
    words.repeat()
    assert out(words) == []


def test_what_is_refused_is_forgotten_and_nothing_else():
    words = SpokenWords()
    for message in (Decide("r", "0" * 64, "approve"), Result("r", "done", {}), Seen("s", {})):
        words.say(message)
    words.forget("decide:r")
    words.repeat()
    assert out(words) == ["result", "seen"]
    words.forget("s")
    words.repeat()
    assert out(words) == ["result"]
    words.forget("")
    words.forget("result:x")
    assert words


def test_the_last_stop_is_the_one_that_counts():
    words = SpokenWords()
    words.say(Stop("stop"))
    words.say(Stop(resume=True))
    words.repeat()
    assert json.loads(words.take())["resume"] is True
    words.hear(event("stop", "", stopped=True))
    assert words, "somebody else's stop says nothing of this laptop's word"
    words.hear(event("stop", "", stopped=False))
    assert not words


def test_what_somebody_else_says_of_a_request_is_not_this_laptop_s_word():
    words = SpokenWords()
    words.say(Decide("r", "0" * 64, "approve"))
    words.say(Result("r", "done", {}))
    words.hear(event("decision", "r", decision="second", by="page"))
    words.hear(event("result", "r", {"id": 0, "role": "service", "name": ""}, outcome="expired"))
    assert out(words) == ["decide", "result"], "the approval and what became of it belong into the record"
    words.hear(event("decision", "r", decision="approve", by="terminal"))
    words.hear(event("result", "r", {"id": 1, "role": "technician", "name": "Wang"}, outcome="done"))
    assert not words
