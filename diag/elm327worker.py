# SPDX-License-Identifier: GPL-2.0-only
"""Drives an ELM327 with python-OBD, in a process of its own.

python-OBD's package is under the GPL, version 2 only, so this file alone is too, and nothing imports it: the program
starts it and talks to it in lines of JSON. python-OBD opens the port, finds the speed, resets the chip and sets the
protocol; answers leave as the chip printed them, because they are decoded elsewhere.

Standard input, a line each: ``{"id": 1, "send": "22F190"}``, ``{"id": 2, "listen": 2.0}``. Standard output: first
``{"protocol": "6", "chip": …}`` or ``{"error": …}``; then ``{"id": 1, "lines": […]}`` per line that came in.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from types import SimpleNamespace
from typing import Any

_PROTOCOLS = ("6", "7", "8", "9")
"""Those of CAN, tried one by one before the chip's own search, which may take ten seconds over old serial protocols."""

_PROBES = ("0100", "3E00")


_ENDING_S = 0.15
_PATIENCE_S = 12.0


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _until_prompt(port: Any, end: float) -> bytes:
    """What arrives until the chip is ready again, or the time is over."""
    got = bytearray()
    while time.monotonic() < end and not got.endswith(b">"):
        got += port.read(port.in_waiting or 1)
    return bytes(got)


def _lines(text: bytes | bytearray) -> list[str]:
    shown = text.replace(b"\0", b"").replace(b">", b"\r").decode("ascii", "replace")
    return [line.strip() for line in shown.replace("\n", "\r").split("\r") if line.strip()]


def _send(elm: Any, text: str) -> list[str]:
    """The lines that the chip prints until its prompt; none of a blank answer.

    python-OBD's own way would read on for many seconds after a prompt without text, and its parsed messages drop what
    it does not understand.
    """
    port = elm._ELM327__port  # noqa: SLF001 - the only raw way that it has
    port.reset_input_buffer()
    port.write(text.encode("ascii") + b"\r")
    return _lines(_until_prompt(port, time.monotonic() + _PATIENCE_S))


def _is_car_there(elm: Any) -> bool:
    """Whether any ECU says anything, a refusal too."""
    for probe in _PROBES:
        for line in _send(elm, probe):
            digits = line.replace(" ", "").upper()
            if len(digits) > 6 and all(char in "0123456789ABCDEF" for char in digits):
                return True
    return False


def _find_protocol(elm: Any, wanted: str) -> str | None:
    for protocol in dict.fromkeys((wanted, *_PROTOCOLS) if wanted else _PROTOCOLS):
        if elm.set_protocol(protocol) and _is_car_there(elm):
            return protocol
    if elm.set_protocol(None) and _is_car_there(elm):
        return str(elm.protocol_id())
    return None


def _listen(elm: Any, seconds: float) -> list[str]:
    """What passes on the bus, printed by the chip until it is stopped; begun again when its buffer ran over."""
    port = elm._ELM327__port  # noqa: SLF001 - monitoring ends with a byte, not with a prompt
    patience, port.timeout = port.timeout, 0.05
    end = time.monotonic() + seconds
    heard = bytearray()
    while time.monotonic() < end:
        port.reset_input_buffer()
        port.write(b"ATMA\r")
        part = _until_prompt(port, end)
        if not part.endswith(b">"):
            # A chip that ends by itself is about to: a byte that comes too late would begin its next command.
            part += _until_prompt(port, time.monotonic() + _ENDING_S)
        if not part.endswith(b">"):
            port.write(b" ")
            part += _until_prompt(port, time.monotonic() + 1.0)
        heard += part + b"\r"
    port.timeout = patience
    return _lines(heard)


def main() -> int:
    """``PORT BAUD PROTOCOL``, the last two may be empty: found out then; the protocol named is tried first."""
    try:
        import obd.elm327
        from obd.elm327 import ELM327
        from obd.utils import OBDStatus
    except ImportError as error:
        _say({"error": "no-obd", "text": str(error)})
        return 3
    logging.disable(logging.CRITICAL)
    # After a reset python-OBD sleeps for a second and then waits for the prompt: the waiting alone is enough.
    obd.elm327.time = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.1)), time=time.time)
    port, baud, wanted = sys.argv[1:4]
    elm = ELM327(port, int(baud) if baud else None, wanted or _PROTOCOLS[0], 1.0, check_voltage=False)
    if elm.status() == OBDStatus.NOT_CONNECTED:
        _say({"error": "no-chip"})
        return 3
    first = wanted or _PROTOCOLS[0]
    protocol = first if _is_car_there(elm) else _find_protocol(elm, wanted)
    _say({"protocol": protocol, "chip": _send(elm, "ATI"), "supply": _send(elm, "ATRV")})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            lines = _listen(elm, request["listen"]) if "listen" in request else _send(elm, request["send"])
        except OSError:
            _say({"error": "gone"})
            return 3
        _say({"id": request["id"], "lines": lines})
    _send(elm, "ATPC")
    elm.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
