"""What this laptop lets experts ask of the car: its own list, which no service can widen.

A TOML file of the workshop; where there is none, reading may be asked for, what changes something is granted one by
one, actuators run only while they are held, and nothing alters an ECU::

    [classes]              # what may be asked for at all
    A = true
    B = true
    C = true
    D = false              # true: only what [[alter]] names, and only with a second person of the room
    [session]
    A = true               # reading may be granted until the end of the session
    [hold]
    longest_s = 30         # an actuator is let go after that
    [[alter]]              # class D, by the ECU's address in the report and the first bytes of the request
    ecu = "0x7EC"
    request = "2E F1 98"
    [[never]]              # never to be asked for, whatever its class; ecu may be left out
    request = "14"
    [[outputs]]            # outputs (2F) of ECUs of high voltage, airbags or unknown job: only those named
    ecu = "0x7EC"
    request = "2F 01 61"
    [routines.0203]        # routines of the maker, as for the guard: class C or D
    class = "C"
    en = "bleed the coolant"
    zh = "冷却液排气"
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from consult.reportecus import ecus_from_report, targets_from_report
from diag.facts import EcuRole, Text
from diag.guard import named_routines
from diag.guardrules import Risk, Rule, release_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PolicyBroken", "RemotePolicy", "needs_hold", "parse_policy", "policy_from_allows"]

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}\s*)+")
_LONGEST_HOLD_S: Final = 600.0
_IO_CONTROL, _RETURN_CONTROL = 0x2F, 0x00
_FREE_ROLES: Final = frozenset(
    {
        EcuRole.ENGINE, EcuRole.TRANSMISSION, EcuRole.BRAKES, EcuRole.BODY, EcuRole.GATEWAY, EcuRole.THERMAL,
        EcuRole.STEERING, EcuRole.TYRES, EcuRole.CLUSTER, EcuRole.TELEMATICS,
    }
)  # fmt: skip
"""ECUs among whose outputs none is a contactor, a discharge circuit or an igniter. Of the others, and of those whose
job the scan does not know, nobody can tell from the bytes which output is one."""


class PolicyBroken(ValueError):
    """A policy that does not make sense; the text says where."""


def needs_hold(data: bytes, risk: Risk) -> bool:
    """Whether a request runs only while it is held: whatever moves something and can be told to stop."""
    return risk in {Risk.ACTUATE, Risk.ALTER} and release_of(data) is not None


@dataclass(frozen=True, slots=True)
class _Named:
    ecu: str | None
    start: bytes

    def covers(self, ecu: str, data: bytes) -> bool:
        return self.ecu in (None, ecu) and data.startswith(self.start)


@dataclass(frozen=True, slots=True)
class RemotePolicy:
    """What may be asked for.

    Args:
        classes: those that may be asked for at all.
        session: reading may be granted until the end of the session.
        longest_hold_s: after that an actuator is let go.
        alter: of class D, what may be asked for.
        never: what may not, whatever its class.
        outputs: of the guarded ECUs, what may be asked for of service 2F.
        routines: of the maker, as :class:`diag.guard.TransmitGuard` takes them.
        guarded: addresses of ECUs whose outputs may close a contactor or fire something; see :meth:`for_car`.
    """

    classes: frozenset[Risk] = frozenset({Risk.READ, Risk.ASK_EACH_TIME, Risk.ACTUATE})
    session: bool = True
    longest_hold_s: float = 30.0
    alter: tuple[_Named, ...] = ()
    never: tuple[_Named, ...] = ()
    outputs: tuple[_Named, ...] = ()
    routines: Mapping[int, tuple[Risk, Text]] = field(default_factory=dict)
    guarded: frozenset[str] = frozenset()

    @property
    def rules(self) -> Mapping[int, Rule]:
        """The routines as the guard's rules."""
        return named_routines(self.routines)

    def for_car(self, report: Mapping[str, Any]) -> RemotePolicy:
        """The same for the car of a scan, which tells the job of each ECU; whose job it does not tell is guarded."""
        free = {str(one.get("address")) for one in ecus_from_report(report) if str(one.get("role")) in _FREE_ROLES}
        return replace(self, guarded=frozenset(targets_from_report(report)) - free)

    def allows(self, ecu: str, data: bytes, risk: Risk) -> bool:
        """Whether this request may be granted at all."""
        if risk not in self.classes or any(one.covers(ecu, data) for one in self.never):
            return False
        if ecu in self.guarded and _takes_over(data) and not any(one.covers(ecu, data) for one in self.outputs):
            return False
        return risk is not Risk.ALTER or any(one.covers(ecu, data) for one in self.alter)

    def to_json(self) -> dict[str, Any]:
        """``allows`` of the agent's hello: for the experts to know, and for the service to class routines."""
        return {
            "classes": sorted(risk.value for risk in self.classes),
            "session": self.session,
            "alter": [{"ecu": one.ecu, "request": one.start.hex().upper()} for one in self.alter],
            "never": [{"ecu": one.ecu, "request": one.start.hex().upper()} for one in self.never],
            "outputs": [{"ecu": one.ecu, "request": one.start.hex().upper()} for one in self.outputs],
            "guarded": sorted(self.guarded),
            "routines": {
                f"{rid:04X}": {"class": risk.value, "en": name.en, "zh": name.zh}
                for rid, (risk, name) in self.routines.items()
            },
        }


def policy_from_allows(allows: Mapping[str, Any]) -> RemotePolicy:
    """A laptop's policy as it told the service: to say early what it will not grant. It decides nothing.

    A laptop that says nothing grants nothing.
    """
    if not allows:
        return RemotePolicy(classes=frozenset())
    try:
        return RemotePolicy(
            classes=frozenset(Risk(value) for value in allows.get("classes", ())) - {Risk.REFUSED},
            session=allows.get("session") is True,
            alter=tuple(_named(one, f"alter {n}", needs_ecu=True) for n, one in enumerate(allows.get("alter", ()))),
            never=tuple(_named(one, f"never {n}") for n, one in enumerate(allows.get("never", ()))),
            outputs=tuple(_output(one, f"outputs {n}") for n, one in enumerate(allows.get("outputs", ()))),
            routines=_routines(allows.get("routines", {})),
            guarded=frozenset(str(one) for one in allows.get("guarded", ())),
        )
    except (PolicyBroken, ValueError, TypeError, AttributeError):
        return RemotePolicy(classes=frozenset())


def parse_policy(text: str) -> RemotePolicy:
    """The policy in a TOML text.

    Raises:
        PolicyBroken: no TOML, an unknown key, or a value that is not what it should be.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyBroken(str(error)) from error
    _only(found, ("classes", "session", "hold", "alter", "never", "outputs", "routines"), "")
    classes = _table(found, "classes", ("A", "B", "C", "D"))
    session = _table(found, "session", ("A",))
    hold = _table(found, "hold", ("longest_s",))
    usual = RemotePolicy()
    longest_s = hold.get("longest_s", usual.longest_hold_s)
    if type(longest_s) not in (int, float) or not 0 < longest_s <= _LONGEST_HOLD_S:
        raise PolicyBroken(f"hold.longest_s = {longest_s!r}")
    given = {Risk(key): _yes_or_no(value, f"classes.{key}") for key, value in classes.items()}
    allowed = {risk: risk in usual.classes for risk in Risk if risk is not Risk.REFUSED} | given
    return RemotePolicy(
        classes=frozenset(risk for risk, is_allowed in allowed.items() if is_allowed),
        session=_yes_or_no(session.get("A", usual.session), "session.A"),
        longest_hold_s=float(longest_s),
        alter=tuple(_named(one, f"alter {n}", needs_ecu=True) for n, one in enumerate(_list(found, "alter"), 1)),
        never=tuple(_named(one, f"never {n}") for n, one in enumerate(_list(found, "never"), 1)),
        outputs=tuple(_output(one, f"outputs {n}") for n, one in enumerate(_list(found, "outputs"), 1)),
        routines=_routines(found.get("routines", {})),
    )


def _only(found: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in keys:
            raise PolicyBroken(f"{where}{key}")


def _table(found: Mapping[str, Any], name: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict):
        raise PolicyBroken(name)
    _only(table, keys, f"{name}.")
    return table


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    entries = found.get(name, [])
    if not isinstance(entries, list):
        raise PolicyBroken(name)
    return entries


def _yes_or_no(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise PolicyBroken(f"{where} = {value!r}")
    return value


def _named(entry: Any, where: str, *, needs_ecu: bool = False) -> _Named:
    if not isinstance(entry, dict):
        raise PolicyBroken(where)
    _only(entry, ("ecu", "request"), f"{where}: ")
    ecu, request = entry.get("ecu"), entry.get("request")
    if not isinstance(request, str) or not _HEX.fullmatch(request.strip()):
        raise PolicyBroken(f"{where}: request = {request!r}")
    if ecu is None and not needs_ecu:
        return _Named(None, bytes.fromhex(request))
    if not isinstance(ecu, str) or not re.fullmatch(r"0x[0-9A-Fa-f]{3,8}", ecu):
        raise PolicyBroken(f"{where}: ecu = {ecu!r}")
    return _Named("0x" + ecu[2:].upper(), bytes.fromhex(request))


def _output(entry: Any, where: str) -> _Named:
    """One output by its identifier: less would name them all."""
    named = _named(entry, where, needs_ecu=True)
    if named.start[0] != _IO_CONTROL or len(named.start) < len(b"\x2f\x01\x61"):
        raise PolicyBroken(f"{where}: request = {entry['request']!r}")
    return named


def _takes_over(data: bytes) -> bool:
    """Whether this is 2F and not merely giving control back to the ECU.

    Standard: ISO 14229-1:2020 §13.2 (returnControlToECU).
    """
    return data[:1] == bytes([_IO_CONTROL]) and data[3:] != bytes([_RETURN_CONTROL])


def _routines(entries: Any) -> dict[int, tuple[Risk, Text]]:
    if not isinstance(entries, dict):
        raise PolicyBroken("routines")
    found: dict[int, tuple[Risk, Text]] = {}
    for key, entry in entries.items():
        if not re.fullmatch(r"[0-9A-Fa-f]{4}", key) or not isinstance(entry, dict):
            raise PolicyBroken(f"routines.{key}")
        _only(entry, ("class", "en", "zh"), f"routines.{key}.")
        texts = (entry.get("en"), entry.get("zh"))
        if entry.get("class") not in ("C", "D") or not all(isinstance(text, str) and text for text in texts):
            raise PolicyBroken(f"routines.{key}: class, en, zh")
        found[int(key, 16)] = Risk(entry["class"]), Text(entry["en"], entry["zh"])
    try:
        named_routines(found)
    except ValueError as error:
        raise PolicyBroken(f"routines: {error}") from error
    return found
