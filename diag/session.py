"""A session with one ECU beyond reading: kept alive, unlocked by a plug-in, and left behind as it was found.

Every request passes the guard of the link; nothing here grants anything. What needs a person's yes each time needs the
guard's ``confirm`` for the very bytes, which :mod:`diag.udsrequests` makes.

Standard: ISO 14229-1:2020 §10 to §17; ISO 14229-2:2021 §7 (P2, P2*, S3).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, Protocol, Self

from diag.answers import AnswerTimes, TimedLink
from diag.errors import DiagError, LinkLost, RemoteProtocolError
from diag.facts import Text
from diag.uds import UdsSession, parse_data, parse_session_times
from diag.udsrequests import (
    AuthenticationTask,
    RoutineKind,
    SessionKind,
    authentication_request,
    clear_request,
    code_setting_request,
    communication_request,
    io_request,
    key_request,
    parse_scaling,
    parse_seed,
    read_memory_request,
    reset_request,
    routine_request,
    scaling_request,
    seed_request,
    session_request,
    write_request,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from diag.addressing import Target
    from diag.answers import Answer, RequestLink
    from diag.uds import SessionTimes
    from diag.udsrequests import MemoryArea

__all__ = ["S3_CLIENT_S", "Authenticator", "EcuSession", "KeyMaker"]

_LOG = logging.getLogger(__name__)

S3_CLIENT_S: Final = 2.0
"""How long nothing may be asked of an ECU in another session before the tester says that it is there."""

_NETWORK_S: Final = 0.2
_STILL_PENDING: Final = 12
"""P2* periods in a row that an ECU may ask for while it writes or erases."""


class KeyMaker(Protocol):
    """Makes the key for a seed. Nobody's algorithm is in here: a workshop plugs in what its maker gave it."""

    def __call__(self, target: Target, level: int, seed: bytes) -> Awaitable[bytes]:
        """The key.

        Raises:
            diag.errors.DiagError: it has none for this ECU.
        """
        ...


class Authenticator(Protocol):
    """Holds a certificate and its private key for service 29 (unidirectional: the tester proves itself)."""

    certificate: bytes

    def __call__(self, target: Target, challenge: bytes) -> Awaitable[bytes]:
        """The proof of ownership: the signature over the ECU's challenge."""
        ...


class EcuSession(UdsSession):
    """One ECU in a session of its own; ``async with`` begins it and goes back to the default session at the end.

    Args:
        link: to the vehicle.
        target: the ECU, physical.
        kind: the session; the default session needs no keeping alive.
        timeout_s: per answer; None is the link's own time, then the ECU's as it says.
        may_keep: asked before each "tester present": False lets the session fall back by itself, as it must when the
            person who wanted it is out of reach.

    Attributes:
        lost: why the session is not kept alive any more, None while it is.
    """

    def __init__(
        self,
        link: RequestLink,
        target: Target,
        kind: int = SessionKind.EXTENDED,
        *,
        timeout_s: float | None = None,
        may_keep: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(link, target, timeout_s=timeout_s)
        self.kind = kind
        self.lost: DiagError | None = None
        self._may_keep = may_keep
        self._last = 0.0
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start(self.kind)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_keeping()
        if isinstance(error, LinkLost):
            return
        with contextlib.suppress(DiagError):  # it falls back by itself after S3
            await self.ask(session_request(SessionKind.DEFAULT))
        if isinstance(self._link, TimedLink):
            self._link.set_times(self.target, None)

    async def ask(self, payload: bytes) -> Answer:
        """As :meth:`UdsSession.ask`, and it counts as a sign of life."""
        try:
            return await super().ask(payload)
        finally:
            self._last = asyncio.get_running_loop().time()

    async def start(self, kind: int) -> SessionTimes | None:
        """10: changes to another session, takes over the times that the ECU names, and keeps it alive.

        Raises:
            NegativeResponse: the ECU refused.
            NoAnswer: it stayed silent.
            RefusedByPolicy: the guard let nothing out.
        """
        await self._stop_keeping()
        answer = (await self.ask(session_request(kind))).whole()
        self.kind, self.lost = kind, None
        self.times = parse_session_times(answer.payload)
        if self.times is not None and isinstance(self._link, TimedLink):
            star = self.times.p2_star_s + _NETWORK_S
            self._link.set_times(
                self.target, AnswerTimes(self.times.p2_s + _NETWORK_S, star, max(10.0, _STILL_PENDING * star))
            )
        if kind != SessionKind.DEFAULT:
            self._keeper = asyncio.get_running_loop().create_task(self._keep_alive(), name="tester present")
        return self.times

    async def _keep_alive(self) -> None:
        """3E 80 whenever nothing was asked for S3; the first failure ends it and is kept."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                left = self._last + S3_CLIENT_S - loop.time()
                if left > 0:
                    await asyncio.sleep(left)
                elif not self._may_keep():
                    await asyncio.sleep(S3_CLIENT_S / 4)
                else:
                    self._last = loop.time()
                    await self.tester_present(is_answer_wanted=False)
        except DiagError as error:
            self.lost = error
            _LOG.debug("session with %s is not kept alive: %s", self.target.address, error)

    async def _stop_keeping(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    # -- unlocking ----------------------------------------------------------------------------------------------

    async def unlock(self, level: int, make_key: KeyMaker) -> bool:
        """27: seed and key.

        Returns:
            False when the level was open already.

        Raises:
            NegativeResponse: refused; after 36 and 37 nothing is tried again.
            RemoteProtocolError: the seed was cut.
            RefusedByPolicy: the guard let nothing out.
        """
        seed = parse_seed((await self.ask(seed_request(level))).whole().payload)
        if not seed.strip(b"\0"):
            return False
        (await self.ask(key_request(level, await make_key(self.target, level, seed)))).whole()
        return True

    async def authenticate(self, identity: Authenticator, *, configuration: int = 0) -> None:
        """29: verify certificate unidirectional, then proof of ownership.

        Raises:
            NegativeResponse: refused.
            RemoteProtocolError: the challenge was cut.
        """
        hello = authentication_request(
            AuthenticationTask.VERIFY_CERTIFICATE_UNIDIRECTIONAL, identity.certificate, b"", configuration=configuration
        )
        answer = (await self.ask(hello)).whole()
        challenge = _record(answer.payload, 3)
        if challenge is None:
            raise RemoteProtocolError(answer.ecu, Text("the challenge is cut", "质询数据不完整"), answer.payload)
        proof = await identity(self.target, challenge)
        (await self.ask(authentication_request(AuthenticationTask.PROOF_OF_OWNERSHIP, proof, b""))).whole()

    # -- services -----------------------------------------------------------------------------------------------

    async def reset(self, kind: int) -> int | None:
        """11. Returns the seconds until a rapid power shutdown where the ECU names them.

        The ECU comes back in its default session: that is what this session then is, too.
        """
        await self._stop_keeping()
        answer = (await self.ask(reset_request(kind))).whole()
        self.kind = SessionKind.DEFAULT
        return answer.payload[2] if len(answer.payload) > 2 else None

    async def clear_codes(self, group: int, *, memory: int | None = None) -> None:
        """14. Read and keep the codes first: nobody gets them back."""
        (await self.ask(clear_request(group, memory=memory))).whole()

    async def read_scaling(self, did: int) -> tuple[tuple[str, int], ...]:
        """24: kinds and sizes of an identifier's data."""
        return parse_scaling((await self.ask(scaling_request(did))).whole().payload)

    async def read_memory(self, area: MemoryArea) -> bytes:
        """23. Never shorter than asked for: what is cut is an error.

        Raises:
            RemoteProtocolError: another number of bytes came.
        """
        answer = (await self.ask(read_memory_request(area))).whole()
        if len(answer.payload) != 1 + area.size:
            raise RemoteProtocolError(answer.ecu, Text("not the size asked for", "长度与请求不符"), answer.payload)
        return answer.payload[1:]

    async def write_data(self, did: int, data: bytes) -> None:
        """2E."""
        (await self.ask(write_request(did, data))).whole()

    async def control(self, did: int, control: int, state: bytes = b"", mask: bytes = b"") -> bytes:
        """2F. Returns the state that the ECU reports."""
        return (await self.ask(io_request(did, control, state, mask))).whole().payload[4:]

    async def routine(self, rid: int, option: bytes = b"", kind: int = RoutineKind.START) -> bytes:
        """31. Returns what the ECU says of the routine."""
        return (await self.ask(routine_request(kind, rid, option))).whole().payload[4:]

    async def set_communication(self, kind: int, communication: int = 0x01, *, node: int | None = None) -> None:
        """28."""
        (await self.ask(communication_request(kind, communication, node=node))).whole()

    async def set_code_storing(self, *, on: bool) -> None:
        """85."""
        (await self.ask(code_setting_request(on=on))).whole()

    async def read_one(self, did: int) -> bytes:
        """22 with one identifier: its data.

        Raises:
            NegativeResponse: refused.
            RemoteProtocolError: cut, or of another identifier.
        """
        answer = (await self.read_data(did)).whole()
        data = parse_data(answer.payload, [did]).get(did)
        if data is None:
            raise RemoteProtocolError(
                answer.ecu, Text("not the identifier asked for", "标识符与请求不符"), answer.payload
            )
        return data


def _record(payload: bytes, at: int) -> bytes | None:
    """A record with its length of two bytes in front; None when it is cut."""
    if len(payload) < at + 2:
        return None
    size = int.from_bytes(payload[at : at + 2], "big")
    return payload[at + 2 : at + 2 + size] if len(payload) >= at + 2 + size else None
