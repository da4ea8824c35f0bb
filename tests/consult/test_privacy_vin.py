"""A VIN that people type is shown to roles that may see it, and to nobody else."""

import asyncio
import json

import pytest
from privacykit import MovedClock, hello, invited, privacy_config, report_of, technician, visitor

from consult.invites import Role
from consult.redaction import redact_event, redact_words
from consult.service import running_service

VIN = "LHZEV4001N0001234"
OTHER = "WVWZZZ1KZ6W000001"
SHOWN = "LHZ…1234"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"the car is {VIN}.", f"the car is {SHOWN}."),
        (f"车架号{VIN}，请查", f"车架号{SHOWN}，请查"),
        (VIN.lower(), SHOWN),
        ("LHZ EV4001 N000 1234", SHOWN),
        ("LHZ-EV4001-N0001234", SHOWN),
        (" ".join(VIN), SHOWN),
        (f"{VIN}.jpg", f"{SHOWN}.jpg"),
        ("part EV4001N00 of it", "part … of it"),
        (f"not ours: {OTHER}", "not ours: WVW…0001"),
        ("1234", "1234"),
        ("P0DE6-16 at 3.302 V, cell 17", "P0DE6-16 at 3.302 V, cell 17"),
        ("12345678901234567", "12345678901234567"),
        ("acknowledgements!", "acknowledgements!"),
    ],
)
def test_words_lose_a_vin_however_it_is_typed(said, shown):
    assert redact_words(said, [VIN]) == shown


def test_hashes_and_ids_stay_what_they_are():
    event = {"kind": "file", "id": "ab" * 32, "text": f"{VIN}.png", "body": {"sha256": "ab" * 32, "name": f"{VIN}.png"}}
    assert redact_event(event, [VIN]) == {
        "kind": "file", "id": "ab" * 32, "text": f"{SHOWN}.png", "body": {"sha256": "ab" * 32, "name": f"{SHOWN}.png"},
    }  # fmt: skip


async def said_in_room(tmp_path, role):
    """All that a role is told of a room in which people type the VIN everywhere: now, later, and as a file's name."""
    async with (
        running_service(privacy_config(tmp_path, MovedClock())) as service,
        visitor() as laptop,
        visitor() as first,
        visitor() as late,
    ):
        token, path = await technician(laptop, service)
        assert (await invited(first, service, path, role))[0] == 200
        assert (await invited(late, service, path, role))[0] == 200
        bearer, watch = {"Authorization": f"Bearer {token}"}, f"{service.url}{path}/watch"
        heard = []
        async with (
            laptop.ws_connect(f"{service.url}{path}/agent", headers=bearer) as agent,
            first.ws_connect(watch) as page,
        ):
            schema = {"stream": 1, "signals": [{"name": "a", "unit": "V"}]}
            await agent.send_str(hello(report_of(VIN), {}, [schema]))
            await agent.send_json({"type": "chat", "id": "c1", "text": f"VIN {VIN} / LHZ EV4001 N0001234"})
            room = service.rooms[path[3:]]
            while not any(event["kind"] == "chat" for event in room.events_after(0)):  # noqa: ASYNC110 - of a task
                await asyncio.sleep(0.02)
            who = {"id": 1, "role": "technician", "name": f"Wang {VIN}"}
            room.happen("mark", who, 5, ident="m", text=f"see {VIN}", body={"signal": "a", "stream": 1})
            room.happen(
                "file", who, 6, ident="ab" * 32, text=f"{VIN}.png", body={"sha256": "ab" * 32, "name": f"{VIN}.png"}
            )
            room.happen("stop", who, 7, text=f"stop {VIN}", body={})
            async with late.ws_connect(watch) as other:
                for socket_ in (page, other):
                    text = ""
                    async with asyncio.timeout(120):
                        while "stop" not in text:
                            message = await socket_.receive()
                            if message.type.name == "TEXT":
                                text = message.data
                                heard.append(text)
        return "\n".join(heard)


@pytest.mark.parametrize("role", [Role.EXPERT, Role.OBSERVER])
async def test_experts_and_observers_hear_of_no_vin_that_people_type(tmp_path, role):
    heard = await said_in_room(tmp_path, role)
    assert VIN not in heard
    assert "EV4001" not in heard
    assert heard.count(SHOWN) >= 8
    assert json.dumps("ab" * 32) in heard


async def test_a_lead_hears_it_as_it_was_typed(tmp_path):
    assert (await said_in_room(tmp_path, Role.LEAD)).count(VIN) >= 8
