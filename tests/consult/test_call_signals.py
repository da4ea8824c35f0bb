"""What the pages of a call say to each other is taken apart, cleaned or refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.callsignals import candidate_fields, clean_candidate, clean_sdp, clean_signal, sends_media
from consult.errors import MessageBroken, RoleRefused

HOST = "candidate:1 1 udp 2122260223 192.168.7.31 54321 typ host generation 0 ufrag abcd network-cost 999"
MDNS = "candidate:2 1 udp 2122260223 2f0a5c1e-0b3c-4f2d-9d53-1f8d2a6a7c11.local 54321 typ host"
SRFLX = "candidate:3 1 udp 1686052607 203.0.113.9 61000 typ srflx raddr 192.168.7.31 rport 54321"
RELAY = "candidate:4 1 udp 41885439 198.51.100.20 49200 typ relay raddr 203.0.113.9 rport 61000 generation 0"


def sdp(*lines, direction="sendrecv"):
    head = ("v=0", "o=- 46117 2 IN IP4 192.168.7.31", "s=-", "t=0 0", "m=audio 54321 UDP/TLS/RTP/SAVPF 111")
    return (
        "\r\n".join((*head, "c=IN IP4 192.168.7.31", "a=rtcp:9 IN IP4 192.168.7.31", f"a={direction}", *lines)) + "\r\n"
    )


def test_names_that_only_one_machine_resolves_are_always_taken_out():
    assert clean_candidate(MDNS, relay_only=False) is None
    assert clean_candidate(HOST, relay_only=False) == HOST
    assert clean_candidate("", relay_only=True) == ""
    found = clean_sdp(sdp(f"a={MDNS}", f"a={HOST}"), relay_only=False)
    assert ".local" not in found
    assert f"a={HOST}" in found


def test_where_relays_only_are_used_no_address_of_anybody_passes():
    offer = clean_sdp(sdp(*(f"a={line}" for line in (HOST, MDNS, SRFLX, RELAY))), relay_only=True)
    assert "192.168.7.31" not in offer
    assert "203.0.113.9" not in offer
    assert "198.51.100.20 49200 typ relay raddr 0.0.0.0 rport 0" in offer
    for line in (HOST, MDNS, SRFLX):
        assert clean_signal({"kind": "candidate", "candidate": line}, relay_only=True, may_send=True) is None
    told = clean_signal({"kind": "candidate", "candidate": RELAY, "sdpMid": "0"}, relay_only=True, may_send=True)
    assert "203.0.113.9" not in json.dumps(told)
    assert told["sdpMid"] == "0"


@pytest.mark.parametrize(
    "line",
    [
        f"{HOST}\r\na={SRFLX}",
        HOST.replace("host", "relay x\na=candidate:1 1 udp 1 10.0.0.1 1 typ host"),
        "candidate:1 1 udp 1 10.0.0.1 1 typ relay typ host",
        "candidate:",
        "x" * 2000,
        f" {HOST}",
        HOST.replace("typ host", "typ other"),
    ],
    ids=range(7),
)
def test_a_candidate_that_is_none_or_hides_another_is_refused(line):
    try:
        told = candidate_fields({"candidate": line}, relay_only=True)
    except MessageBroken:
        return
    assert told is None or "10.0.0.1 1 typ host" not in told["candidate"].replace("typ relay typ host", "")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "bye"},
        {"kind": "offer"},
        {"kind": "offer", "sdp": "x"},
        {"kind": "offer", "sdp": "v=0" + "x" * 20_000},
        {"kind": "answer", "sdp": sdp(), "call": -1},
        {"kind": "answer", "sdp": sdp(), "call": True},
        {"kind": "candidate", "candidate": 7},
        {"kind": "candidate", "candidate": HOST, "sdpMid": "0" * 300},
        {"kind": "candidate", "candidate": HOST, "sdpMLineIndex": "0"},
    ],
    ids=range(10),
)
def test_signals_that_are_none_are_refused(body):
    with pytest.raises(MessageBroken):
        clean_signal(body, relay_only=False, may_send=True)


def test_what_a_signal_says_beyond_its_fields_stays_behind():
    told = clean_signal({"kind": "offer", "sdp": sdp(), "call": 3, "more": {"x": 1}}, relay_only=False, may_send=True)
    assert told == {"kind": "offer", "sdp": sdp(), "call": 3}


def test_an_observer_s_page_can_offer_to_receive_only():
    for direction, sends in (("recvonly", False), ("inactive", False), ("sendonly", True), ("sendrecv", True)):
        assert sends_media(sdp(direction=direction)) is sends
    assert sends_media(sdp(direction="x")), "no direction is sendrecv"
    assert sends_media(sdp("m=video 9 UDP/TLS/RTP/SAVPF 96", direction="recvonly"))
    with pytest.raises(RoleRefused):
        clean_signal({"kind": "answer", "sdp": sdp()}, relay_only=False, may_send=False)


@given(st.text(), st.booleans())
def test_any_text_is_cleaned_or_refused(text, relay_only):
    for clean in (clean_sdp, clean_candidate):
        try:
            found = clean(text, relay_only=relay_only)
        except MessageBroken:
            continue
        assert found is None or ".local " not in found
