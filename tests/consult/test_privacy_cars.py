"""What is held about a car is found without its VIN on the disk, written out, and deleted."""

import asyncio
import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from privacykit import (
    MovedClock,
    add_account,
    hello,
    invited,
    post,
    privacy_config,
    report_of,
    sign_in,
    technician,
    visitor,
)

from casebase.errors import LibraryLocked
from consult.accounts import AccountRole
from consult.cardata import forget_car, held_about_car
from consult.carexport import ExportFolder, export_car
from consult.carindex import checked_vin, hashes_of_vin, index_keys
from consult.consenttexts import notice_text, version_of
from consult.errors import DataUnusable
from consult.part import Part
from consult.privacyerrors import CarUnknown
from consult.privacystore import PrivacyStore
from consult.service import running_service
from consult.wire import encode_samples

VIN, OTHER = "LHZEV4001N0001234", "LHZEV4001N0009999"
SCHEMA = {"stream": 1, "signals": [{"name": "CellVoltage_001", "unit": "V"}]}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


async def a_room(service, laptop, eventually, vin=VIN, *, ends=True):
    """A room with a car, words, samples, a picture and an expert; its name and the agent's token."""
    token, path = await technician(laptop, service)
    bearer = {"Authorization": f"Bearer {token}"}
    room = service.rooms[path[3:]]
    async with visitor() as expert, laptop.ws_connect(f"{service.url}{path}/agent", headers=bearer) as agent:
        shown = version_of("notice", notice_text(service.config.privacy, service.config.visit_days))
        assert (await invited(expert, service, path, notice=shown, lang="zh"))[0] == 200
        await agent.send_str(hello(report_of(vin), {}, [SCHEMA]))
        for seq in range(3):
            values = np.array([3.5 + seq], np.float32)
            block = {"stream": 1, "epoch": 5, "seq": seq, "t_us": 1_700_000_000_000_000 + seq}
            await agent.send_bytes(encode_samples(**block, values=values, valid=np.ones(1, np.bool_)))
        await agent.send_json({"type": "chat", "id": "1", "text": "=HYPERLINK(1)"})
        sha256 = hashlib.sha256(PNG).hexdigest()
        where = f"{service.url}{path}/files/{sha256}?offset=0&size={len(PNG)}&name=cell.png"
        async with laptop.put(where, data=PNG, headers=bearer) as answer:
            assert answer.status == 200, await answer.text()
        await eventually(lambda: room.blocks_in == 3 and not room.has_unwritten)
        if ends:
            await agent.send_json({"type": "bye"})
            while (await agent.receive(timeout=120)).type.name == "TEXT":
                pass
    if ends:
        await eventually(lambda: path[3:] not in service.rooms)
    store = PrivacyStore(service.state)
    await eventually(lambda: path[3:] in store.indexed_rooms())
    return path[3:]


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """The command line and this process have the same settings, and so the same keys."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


def config_with_keys(tmp_path, **privacy):
    from dataclasses import replace

    from huizhen.roomkeychain import with_master_key
    from huizhen.signing import load_signer

    config = privacy_config(tmp_path, MovedClock(), **privacy)
    return replace(config, privacy=with_master_key(config.privacy), signer=load_signer())


async def huizhen(*words):
    def run():
        environment = {**os.environ, "HUIZHEN_LANG": "en"}
        return subprocess.run(
            [sys.executable, "-m", "huizhen", "consult", *words],
            capture_output=True, text=True, env=environment, check=False, timeout=120,
        )  # fmt: skip

    return await asyncio.to_thread(run)


@pytest.mark.parametrize("text", ["lhzev4001n0001234", " LHZ EV4001-N0001234 "])
def test_a_vin_as_it_is_typed(text):
    assert checked_vin(text) == VIN


@pytest.mark.parametrize("text", ["", "LHZ", "LHZEV4001N000123I", 7, None, VIN + "0"])
def test_what_is_no_vin(text):
    with pytest.raises(CarUnknown):
        checked_vin(text)


async def test_everything_about_a_car_is_found_and_written_out(tmp_path, settings, eventually):
    config = config_with_keys(tmp_path)
    async with running_service(config) as service, visitor() as laptop:
        mine = await a_room(service, laptop, eventually)
        await a_room(service, laptop, eventually, OTHER)
        for path in config.data.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert VIN.encode() not in content, path
                assert b"HYPERLINK" not in content, path
        out = tmp_path / "held"
        done = await huizhen("car", VIN, "--data", str(config.data), "-o", str(out), "--json")
        assert done.returncode == 0, done.stderr
        index = json.loads(done.stdout)
        assert index == json.loads((out / "index.json").read_text(encoding="utf-8"))
        assert (index["schema"], index["vin"], [one["room"] for one in index["rooms"]]) == (
            "huizhen.car-data/1", VIN, [mine],
        )  # fmt: skip
        assert (index["missing"], index["unknown"]) == ([], [])
        for one in index["files"]:
            content = (out / one["path"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (one["bytes"], one["sha256"])
        assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
            *(one["path"] for one in index["files"]), "index.json",
        }  # fmt: skip
        base = out / "rooms" / mine
        assert VIN in (base / "report.json").read_text(encoding="utf-8")
        with (base / "samples.csv").open(encoding="utf-8-sig", newline="") as file:
            assert len(list(csv.reader(file))) == 4
        assert next((base / "files").iterdir()).read_bytes() == PNG
        with (base / "events.csv").open(encoding="utf-8-sig", newline="") as file:
            said = [row for row in csv.DictReader(file) if row["kind"] == "chat"]
        assert [row["text"] for row in said] == ["'=HYPERLINK(1)"], "no spreadsheet runs what people wrote"
        (consent,) = json.loads((base / "consents.json").read_text(encoding="utf-8"))["rows"]
        texts = json.loads((out / "consent-texts.json").read_text(encoding="utf-8"))
        assert texts[consent["version"]]["text"]["zh"] == notice_text(config.privacy, config.visit_days).zh
        assert mine in (out / "audit.csv").read_text(encoding="utf-8")
        assert OTHER not in "".join(path.read_text(errors="replace") for path in out.rglob("*") if path.is_file())
        for name, word in (("README.md", "What is held"), ("README.zh.md", "全部数据")):
            assert word in (out / name).read_text(encoding="utf-8")
        noted = [entry for _, entry in service.state.audit() if entry.what == "car-held"]
        assert [entry.detail for entry in noted] == ["1 rooms"]
        again = await huizhen("car", VIN, "--data", str(config.data), "-o", str(out))
        assert (again.returncode, "not empty" in again.stderr) == (2, True)


async def test_a_car_is_forgotten_and_nothing_of_it_is_left(tmp_path, settings, eventually):
    config = config_with_keys(tmp_path)
    async with running_service(config) as service, visitor() as laptop, visitor() as guest:
        gone = await a_room(service, laptop, eventually)
        held = await a_room(service, laptop, eventually)
        still_open = await a_room(service, guest, eventually, ends=False)
        other = await a_room(service, laptop, eventually, OTHER)
        data = str(config.data)
        assert (await huizhen("retention", "--hold", held, "--reason", "court", "--data", data)).returncode == 0
        done = await huizhen("forget", VIN, "--dry-run", "--json", "--data", data)
        assert (done.returncode, sorted(json.loads(done.stdout)["rooms"])) == (0, sorted([gone, held, still_open]))
        assert (await huizhen("forget", VIN, "--data", data)).returncode == 2, "a reason is needed"
        done = await huizhen("forget", VIN, "--reason", "owner asks", "--json", "--data", data)
        told = json.loads(done.stdout)
        assert done.returncode == 7
        assert [one["room"] for one in told["certificates"]] == [gone]
        assert {one["room"]: one["error"] for one in told["kept"]} == {
            held: "consult.hold-set", still_open: "consult.deletion-refused",
        }  # fmt: skip
        assert not list(config.data.glob(f"*-{gone}.*"))
        assert PrivacyStore(service.state).consents(room=gone)[0].name == "", "the proof stays without a name"
        assert (await huizhen("retention", "--release", held, "--data", data)).returncode == 0
        service.rooms[still_open].close("consult.room-closed")
        await eventually(lambda: still_open not in service.rooms)
        done = await huizhen("forget", VIN, "--reason", "owner asks", "--json", "--data", data)
        assert done.returncode == 0, done.stdout
        assert {one["room"] for one in json.loads(done.stdout)["certificates"]} == {held, still_open}
        assert [path.name[-17:-5] for path in config.data.glob("*.room")] == [other]
        (mine,) = hashes_of_vin(index_keys(service.keys), VIN)
        assert PrivacyStore(service.state).rooms_of_car(mine) == []


async def test_a_record_that_no_index_knows_is_found_all_the_same(tmp_path, settings, eventually):
    config = config_with_keys(tmp_path)
    async with running_service(config) as service, visitor() as laptop:
        mine = await a_room(service, laptop, eventually)
        await a_room(service, laptop, eventually, OTHER)
        with service.state.transaction() as db:
            db.execute("DELETE FROM room_car")
        done = await huizhen("car", VIN, "--data", str(config.data), "-o", str(tmp_path / "held"), "--json")
        assert [one["room"] for one in json.loads(done.stdout)["rooms"]] == [mine]
        for key in (config.data / "keys").glob("*.key"):
            key.unlink()
        done = await huizhen("car", VIN, "--data", str(config.data), "-o", str(tmp_path / "none"), "--json")
        told = json.loads(done.stdout)
        assert (told["rooms"], len(told["unknown"])) == ([], 2), "what cannot be read may be of any car, and is named"


async def test_administrators_ask_and_nobody_else_and_parts_answer(tmp_path, settings, eventually):
    class Visits(Part):
        held = True

        def held_about(self, vin):
            return [("network-visits", {"rows": [{"site": "a", "n": 1}]})] if vin == VIN and self.held else []

        def forget(self, vin, who, now_us):
            self.held = self.held and vin != VIN
            return [{"schema": "test", "by": who}]

    config = config_with_keys(tmp_path)
    async with running_service(config) as service, visitor() as laptop, visitor() as one:
        service.parts = (*service.parts, Visits(service))
        mine = await a_room(service, laptop, eventually)
        for path in ("/api/cars/held", "/api/cars/forget"):
            assert (await post(one, service.url, path, {"vin": VIN, "reason": "x"}))[0] == 401
        for name, role in (("li", AccountRole.LEAD), ("eye", AccountRole.AUDITOR), ("chief", AccountRole.ADMIN)):
            add_account(service, name, role)
            await sign_in(one, service, name)
            status, told = await post(one, service.url, "/api/cars/held", {"vin": VIN})
            assert status == (200 if name == "chief" else 403)
        assert told["rooms"] == [mine]
        documents = {entry["path"]: entry["body"] for entry in told["documents"]}
        assert documents["service/network-visits"] == {"rows": [{"site": "a", "n": 1}]}
        assert VIN in json.dumps(documents[f"rooms/{mine}/report"])
        for body, status in (({"vin": "x"}, 400), ({"vin": VIN}, 400), ({"vin": VIN, "reason": "owner"}, 200)):
            found, told = await post(one, service.url, "/api/cars/forget", body)
            assert found == status, body
        assert [entry.get("room") for entry in told["certificates"]] == [mine, None]
        assert (await post(one, service.url, "/api/cars/held", {"vin": VIN}))[1]["rooms"] == []
        audit = [entry for _, entry in service.state.audit()]
        assert VIN not in str(audit)
        assert {"car-held", "car-forget"} <= {entry.what for entry in audit}


class Visits(Part):
    """A part that keeps something, or whose library somebody else has open."""

    name = "visits"
    is_locked = False
    held = True

    def _look(self):
        if self.is_locked:
            raise LibraryLocked("cases.db")

    def held_about(self, vin):
        self._look()
        return [("visits", {"rows": [{"n": 1}]})] if self.held else []

    def forget(self, vin, who, now_us):
        self._look()
        self.held = False
        return [{"what": "visits"}]


async def test_one_damaged_record_and_one_failing_part_do_not_silence_the_rest(tmp_path, settings, eventually):
    config = config_with_keys(tmp_path)
    async with running_service(config) as service, visitor() as laptop:
        whole = await a_room(service, laptop, eventually)
        broken = await a_room(service, laptop, eventually)
        (record,) = config.data.glob(f"*-{broken}.room")
        record.write_bytes(record.read_bytes()[:5000] + b"\0" * 20_000)
        part = Visits(service)
        service.parts = (*service.parts, part)
        part.is_locked = True
        held = held_about_car(service, VIN)
        assert {one.what: one.is_part for one in held.unreadable} == {broken: False, "visits": True}
        assert f"rooms/{whole}/report" in dict(held.documents)
        index = export_car(tmp_path / "out", VIN, held, service.keys, 1)
        assert sorted(one.get("room") or one["part"] for one in index["missing"]) == sorted([broken, "visits"])
        written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
        assert written == {*(one["path"] for one in index["files"]), "index.json"}
        data = str(config.data)
        done = await huizhen("car", VIN, "--data", data, "-o", str(tmp_path / "held"), "--json")
        assert (done.returncode, [one["room"] for one in json.loads(done.stdout)["missing"]]) == (7, [broken])
        done = forget_car(service, VIN, "owner", "chief", 1)
        assert {one["room"] for one in done.certificates} == {whole, broken}, "what was done is told"
        assert [one.to_json()["part"] for one in done.kept] == ["visits"]
        part.is_locked = False
        done = forget_car(service, VIN, "owner", "chief", 1)
        assert (done.certificates, done.kept) == ([{"what": "visits"}], [])


async def test_security_a_hold_on_one_room_keeps_what_the_parts_have_of_the_car(tmp_path, settings, eventually):
    config = config_with_keys(tmp_path)
    async with running_service(config) as service, visitor() as laptop:
        gone = await a_room(service, laptop, eventually)
        held = await a_room(service, laptop, eventually)
        part = Visits(service)
        service.parts = (*service.parts, part)
        store = PrivacyStore(service.state)
        store.change(held, hold="court")
        done = forget_car(service, VIN, "owner", "chief", 1)
        assert [one["room"] for one in done.certificates] == [gone]
        assert [(one.what, one.error.code) for one in done.kept] == [
            (held, "consult.hold-set"), ("visits", "consult.hold-set"),
        ]  # fmt: skip
        assert part.held
        store.change(held, hold="")
        done = forget_car(service, VIN, "owner", "chief", 1)
        assert (len(done.certificates), done.kept, part.held) == (2, [], False)


async def test_a_car_whose_visits_cannot_be_searched_is_not_said_to_be_forgotten(tmp_path, settings):
    config = config_with_keys(tmp_path)
    async with running_service(config) as service:
        with service.state.transaction() as db:
            db.execute(
                "INSERT INTO network_visit (site, uid, key, car, room, received_us, day, model, body)"
                " VALUES (1, 'u', 1, x'00', '', 1, '2027-01-01', 'BYD Song', '{}')"
            )
        data = str(config.data)
        done = await huizhen("forget", VIN, "--reason", "owner", "--json", "--data", data)
        assert done.returncode == 7
        assert [(one["part"], one["error"]) for one in json.loads(done.stdout)["kept"]] == [
            ("network", "consult.network-unsearched")
        ]
        done = await huizhen("car", VIN, "-o", str(tmp_path / "held"), "--data", data)
        assert (done.returncode, "network.keys" in done.stderr) == (7, True)


async def test_what_is_held_about_a_person_is_written_out(tmp_path, settings, eventually):
    config = config_with_keys(tmp_path)
    async with running_service(config) as service, visitor() as laptop, visitor() as li:
        add_account(service, "li", region="CN")
        add_account(service, "zhang")
        token, path = await technician(laptop, service)
        await post(laptop, service.url, f"{path}/experts", {"allowed": True}, token)
        await sign_in(li, service, "li")
        shown = version_of("notice", notice_text(config.privacy, config.visit_days))
        assert (await post(li, service.url, f"{path}/enter", {"notice": shown, "lang": "zh"}))[0] == 200
        out, data = tmp_path / "li", str(config.data)
        done = await huizhen("user", "export", "li", "-o", str(out), "--data", data, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["schema"] == "huizhen.user-data/1"
        account = json.loads((out / "account.json").read_text(encoding="utf-8"))
        assert (account["name"], account["region"], "password" in account) == ("li", "CN", False)
        said = {row["what"] for row in json.loads((out / "audit.json").read_text(encoding="utf-8"))["rows"]}
        assert {"login", "enter"} <= said
        assert [row["room"] for row in json.loads((out / "sessions.json").read_text(encoding="utf-8"))["rows"]] == [
            path[3:]
        ]
        assert json.loads((out / "consents.json").read_text(encoding="utf-8"))["rows"][0]["version"] == shown
        assert (out / "logins.json").exists()
        assert "zhang" not in "".join(path.read_text(encoding="utf-8") for path in out.iterdir())
        none = await huizhen("user", "export", "nobody", "-o", str(tmp_path / "x"), "--data", data)
        assert none.returncode == 2
        assert not (tmp_path / "x").exists()


def test_a_folder_with_something_in_it_is_not_written_into(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(DataUnusable):
        ExportFolder(tmp_path)
    assert [Path(path).name for path in tmp_path.iterdir()] == ["a"]
