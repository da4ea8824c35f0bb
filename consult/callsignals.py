"""What two pages say to each other to connect: read strictly, and rid of addresses that nobody should learn. No I/O.

A page is not trusted to keep its own address, or another's, to itself: in a room that goes by relays only the service
takes every candidate that is none of a relay out of what passes, and the addresses behind those that are.

Standard: candidates RFC 8839 section 5.1; session descriptions RFC 8866; relay candidates' related address RFC 8445
section 5.3, blanked as browsers do it themselves.
"""

from __future__ import annotations

import re
from typing import Any, Final

from consult.errors import MessageBroken, RoleRefused
from consult.messagerules import MAX_SDP_CHARS
from diag.facts import Text

__all__ = ["MAX_CANDIDATE_CHARS", "MAX_ENGINE_SDP_CHARS", "clean_candidate", "clean_sdp", "clean_signal", "sends_media"]

MAX_CANDIDATE_CHARS: Final = 1000
MAX_ENGINE_SDP_CHARS: Final = 48_000
"""An answer to the engine has two sections of 800 characters for each person who publishes."""

MAX_MID_CHARS: Final = 64
_U32: Final = 1 << 32
_CANDIDATE: Final = re.compile(
    r"(?:a=)?candidate:[A-Za-z0-9+/]{1,32} [0-9]{1,5} [A-Za-z-]{3,8} [0-9]{1,10} [A-Za-z0-9.:\-]{1,255} [0-9]{1,5}"
    r" typ (host|srflx|prflx|relay)((?: [\x21-\x7e]{1,255})*)"
)
_NO_ADDRESS: Final = " raddr 0.0.0.0 rport 0"
_RELATED: Final = re.compile(r" raddr \S+ rport \d+")
_SIDES: Final = re.compile(r"^m=(?:audio|video) ", re.MULTILINE)


def clean_candidate(line: str, *, relay_only: bool) -> str | None:
    """A candidate as it may be passed on; None where it may not. Empty ends the candidates, and passes.

    Raises:
        MessageBroken: it is no candidate.
    """
    if not line:
        return line
    found = _CANDIDATE.fullmatch(line)
    if found is None:
        raise MessageBroken(Text("a candidate that is none", "无效的候选地址"))
    if ".local " in line or (relay_only and found.group(1) != "relay"):
        return None
    return _RELATED.sub(_NO_ADDRESS, line) if relay_only else line


def clean_sdp(sdp: str, *, relay_only: bool, most: int = MAX_SDP_CHARS) -> str:
    """A session description without the candidates, and in relay-only rooms the addresses, that may not be passed on.

    Raises:
        MessageBroken: it is none, or too long.
    """
    if not sdp.startswith("v=0") or len(sdp) > most:
        raise MessageBroken(Text("a session description that is none", "无效的会话描述"))
    kept = []
    for line in sdp.splitlines():
        if line.startswith("a=candidate:"):
            candidate = clean_candidate(line, relay_only=relay_only)
            if candidate is None:
                continue
            kept.append(candidate)
        elif relay_only and line.startswith("c="):
            kept.append("c=IN IP4 0.0.0.0")
        elif relay_only and line.startswith("o="):
            kept.append(re.sub(r" IN IP[46] \S+$", " IN IP4 127.0.0.1", line))
        elif relay_only and line.startswith("a=rtcp:"):
            kept.append("a=rtcp:9 IN IP4 0.0.0.0")
        else:
            kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def sends_media(sdp: str) -> bool:
    """Whether a description offers to send sound or picture: what says no direction sends too (RFC 8866, 6.7)."""
    parts = _SIDES.split(sdp.replace("\r\n", "\n"))[1:]
    return any(not re.search(r"^a=(?:recvonly|inactive)$", part, re.MULTILINE) for part in parts)


def clean_signal(body: dict[str, Any], *, relay_only: bool, may_send: bool) -> dict[str, Any] | None:
    """What of a ``signal`` is passed on; None where nothing is left of it.

    Raises:
        MessageBroken: it is none.
        RoleRefused: it offers sound or picture of somebody who only watches.
    """
    call = body.get("call", 0)
    if type(call) is not int or not 0 <= call < _U32:
        raise MessageBroken(Text("field call of signal", "signal 的字段 call"))
    kind = body.get("kind")
    if kind in ("offer", "answer"):
        sdp = body.get("sdp")
        if not isinstance(sdp, str):
            raise MessageBroken(Text("field sdp of signal", "signal 的字段 sdp"))
        if not may_send and sends_media(sdp):
            raise RoleRefused("observer")
        return {"kind": kind, "sdp": clean_sdp(sdp, relay_only=relay_only), "call": call}
    if kind != "candidate":
        raise MessageBroken(Text("field kind of signal", "signal 的字段 kind"))
    told = candidate_fields(body, relay_only=relay_only)
    return None if told is None else {"kind": kind, **told, "call": call}


def candidate_fields(body: dict[str, Any], *, relay_only: bool) -> dict[str, Any] | None:
    """The fields of an ``RTCIceCandidateInit`` as they may be passed on; None where it may not.

    Raises:
        MessageBroken: it is none.
    """
    line = body.get("candidate")
    if not isinstance(line, str) or len(line) > MAX_CANDIDATE_CHARS:
        raise MessageBroken(Text("field candidate", "字段 candidate"))
    candidate = clean_candidate(line, relay_only=relay_only)
    if candidate is None:
        return None
    told: dict[str, Any] = {"candidate": candidate}
    for name in ("sdpMid", "usernameFragment"):
        value = body.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > MAX_MID_CHARS * 4):
            raise MessageBroken(Text(f"field {name}", f"字段 {name}"))
        told[name] = value
    index = body.get("sdpMLineIndex")
    if index is not None and (type(index) is not int or not 0 <= index < MAX_SDP_CHARS):
        raise MessageBroken(Text("field sdpMLineIndex", "字段 sdpMLineIndex"))
    told["sdpMLineIndex"] = index
    return told
