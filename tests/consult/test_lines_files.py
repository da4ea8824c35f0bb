"""Files in a room: in pieces, whole again, of the kinds that a room takes, and for whom they are."""

import hashlib
import io
import zipfile
import zlib

import aiohttp
import pytest

from consult.enrolment import bring_file
from consult.errors import UploadBroken
from consult.invites import Role
from consult.roomfiles import kind_of_file

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
LOG = "时间,数值\n1,2\n".encode() * 1000


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def bundle():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("report.json", '{"vin": "LHZEV4001N0001234"}')
    return file.getvalue()


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def people(service, http):
    """The technician's token, and the cookies of others, in one room."""
    invite = service.invite_technician()
    async with http.post(f"{service.url}/redeem", json={"invite": invite.code, "agent": True}) as answer:
        body = await answer.json()
    found = {"technician": {"Authorization": f"Bearer {body['token']}"}}
    for role in (Role.LEAD, Role.EXPERT, Role.OBSERVER):
        code = service.invite(body["room"], role).code
        async with http.post(f"{service.url}/redeem", json={"invite": code}) as answer:
            found[role.value] = {"Cookie": f"huizhen_session={answer.cookies['huizhen_session'].value}"}
    return body["room"], found


class Files:
    def __init__(self, http, service, room):
        self.http, self.url, self.room = http, f"{service.url}/r/{room}/files", service.rooms[room]

    async def put(self, who, data, offset=0, *, name="a.png", whole=None, size=None):
        whole = data if whole is None else whole
        query = {"offset": str(offset), "size": str(len(whole) if size is None else size), "name": name}
        async with self.http.put(f"{self.url}/{sha256(whole)}", params=query, data=data, headers=who) as answer:
            return answer.status, await answer.json()

    async def get(self, who, data):
        async with self.http.get(f"{self.url}/{sha256(data)}", headers=who) as answer:
            return answer.status, await answer.read(), dict(answer.headers)

    def told(self):
        return [event for event in self.room.events_after(0) if event["kind"] == "file"]


@pytest.fixture
async def files(http, service, people):
    return Files(http, service, people[0])


async def test_a_cut_upload_goes_on_where_it_was(files, people):
    _, who = people
    assert await files.put(who["expert"], PNG[:5000], whole=PNG) == (200, {"offset": 5000, "complete": False})
    status, said = await files.put(who["expert"], PNG, whole=PNG)
    assert (status, said) == (409, {"error": "consult.upload-offset", "offset": 5000})
    assert files.told() == []
    assert (await files.put(who["expert"], PNG[5000:], 5000, whole=PNG))[1]["complete"]
    (event,) = files.told()
    assert event["body"] == {
        "sha256": sha256(PNG),
        "name": "a.png",
        "bytes": len(PNG),
        "type": "image/png",
        "open": True,
    }
    assert (await files.put(who["expert"], PNG, whole=PNG))[1]["complete"], "brought again, it is there"
    assert len(files.told()) == 1
    status, data, headers = await files.get(who["observer"], PNG)
    assert (status, data) == (200, PNG)
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_what_may_hold_the_vin_is_for_who_may_see_it(files, people):
    _, who = people
    for data, name, kind in ((bundle(), "scan.hzb", "application/octet-stream"), (LOG, "日志.csv", "text/plain")):
        assert (await files.put(who["technician"], data, name=name))[0] == 200
        assert files.told()[-1]["body"]["type"] == kind
        for role, status in (("lead", 200), ("technician", 200), ("expert", 403), ("observer", 403)):
            assert (await files.get(who[role], data))[0] == status


async def test_uploads_that_are_refused(files, people, service):
    _, who = people
    wrong = (
        (await files.put(who["observer"], PNG), 403),
        (await files.put({}, PNG), 401),
        (await files.put(who["expert"], PNG, name="a.html"), 400),
        (await files.put(who["expert"], b"<html>", name="a.png"), 400),
        (await files.put(who["expert"], b"\x7fELF" + bytes(100), name="a.log"), 400),
        (await files.put(who["expert"], PNG, name="../a.png"), 400),
        (await files.put(who["expert"], PNG, name=""), 400),
        (await files.put(who["expert"], PNG, size=64_000_001), 400),
        (await files.put(who["expert"], PNG, size=0), 429),
        (await files.put(who["expert"], PNG, size=100), 429),
        (await files.put(who["expert"], PNG[:-1] + b"x", whole=PNG), 400),
    )
    for (status, said), expected in wrong:
        assert status == expected, said
        assert said["error"]
    assert files.told() == []
    async with files.http.get(f"{files.url}/{sha256(b'nothing')}", headers=who["lead"]) as answer:
        assert answer.status == 404
    stranger = service.invite_technician()
    async with files.http.post(f"{service.url}/redeem", json={"invite": stranger.code, "agent": True}) as answer:
        token = (await answer.json())["token"]
    assert (await files.put({"Authorization": f"Bearer {token}"}, PNG))[0] == 401, "of another room"


async def test_the_laptop_brings_a_file_in_pieces(http, service, people, files):
    room, who = people
    data = PNG + zlib.compress(bytes(range(256)) * 20_000, 0)
    assert len(data) > 3_000_000
    token = who["technician"]["Authorization"].partition(" ")[2]
    await bring_file(http, service.url, room, token, "photo.png", data)
    assert files.told()[0]["body"]["bytes"] == len(data)
    assert (await files.get(who["expert"], data))[1] == data
    with pytest.raises(UploadBroken, match="PNG"):
        await bring_file(http, service.url, room, token, "photo.png", b"no picture")


def test_kinds_by_content():
    for content, name, kind in (
        (PNG, "x.png", "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "x.JPEG", "image/jpeg"),
        (bundle(), "x.hzb", "application/octet-stream"),
        (LOG, "x.csv", "text/plain"),
        ("中文日志".encode("gb18030"), "x.log", "text/plain"),
    ):
        file = io.BytesIO(content)
        assert kind_of_file(file, name).media_type == kind
        with pytest.raises(UploadBroken, match="something else"):
            kind_of_file(file, "x.html")


async def test_a_file_that_was_kept_and_not_told_of_is_told_when_it_comes_again(service, http, people, monkeypatch):
    """As after a kill between the file's last byte and the journal's commit."""
    room, who = people
    files = Files(http, service, room)
    told = service.rooms[room]
    with monkeypatch.context() as patch:
        patch.setattr(told, "happen", lambda *_, **__: None)
        assert (await files.put(who["expert"], PNG))[0] == 200
    assert told.files == {}
    assert (await files.put(who["expert"], PNG))[1] == {"offset": len(PNG), "complete": True}
    assert list(told.files) == [sha256(PNG)]
    address = f"{service.url}/r/{room}/files/{sha256(PNG)}"
    async with http.get(address, headers=who["observer"]) as answer:
        assert await answer.read() == PNG


async def test_a_file_can_be_had_and_requests_are_known_however_many_people_came_and_went(service, http, people):
    room, who = people
    files = Files(http, service, room)
    assert (await files.put(who["expert"], PNG))[0] == 200
    told = service.rooms[room]
    told.happen("chat", {"id": 1, "role": "technician", "name": "T"}, 1, ident="c", text="first")
    for number in range(6_000):
        told.happen("join", {"id": number, "role": "observer", "name": ""}, 1)
    events = told.events_after(0)
    assert len(events) <= 5_000
    assert {"file", "chat"} <= {event["kind"] for event in events}
    assert [event["n"] for event in events] == sorted(event["n"] for event in events)
    address = f"{service.url}/r/{room}/files/{sha256(PNG)}"
    async with http.get(address, headers=who["observer"]) as answer:
        assert answer.status == 200
    for number in range(5_100):
        told.happen("chat", {"id": 1, "role": "technician", "name": "T"}, 1, ident=str(number), text="x")
    async with http.get(address, headers=who["observer"]) as answer:
        assert answer.status == 200
    assert told.journal.events()[0]["n"] <= 2
