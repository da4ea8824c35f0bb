"""``huizhen consult queue``, ``user --make --at-once``, and what the technician's terminal says of the line."""

import asyncio
import io
import json

import pytest
from queuekit import PASSWORD, Clock, hire, queue_of, sick_report, staff

from consult.errors import ServerRefused
from consult.joining import joined_room
from consult.needs import Need
from consult.routing import Expert
from consult.service import ServiceConfig
from consult.servicestate import ServiceState
from consult.waitclocks import QueueConfig
from consult.waitingline import Entry
from consult.waitstore import WaitStore
from consult.waitview import QueueFigures, estimate_s
from diag.samples import StreamSchema
from huizhen.cli import main
from huizhen.exits import Exit

S = 1_000_000


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))

    def run(*words, typed="", lang="en"):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main(["--lang", lang, "consult", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_staffing_of_given_figures(run):
    words = ("queue", "--staffing", "--arrivals-per-hour", "12", "--handling-min", "20")
    code, out, _ = run(*words)
    assert code == Exit.DONE
    assert out.startswith("6 experts for 4.00 erlang, to accept 80% of the cars within 5 min.")
    told = json.loads(run(*words, "--within-s", "20", "--share", "0.9", "--json")[1])
    assert (told["schema"], told["agents"], told["target_s"]) == ("huizhen.staffing/1", 8, 20)
    assert [row["agents"] for row in told["around"]] == [6, 7, 8, 9, 10]
    assert [row["service_level"] >= 0.9 for row in told["around"]] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--arrivals-per-hour", "12"), "go together"),
        (("--arrivals-per-hour", "12", "--handling-min", "20"), "with --staffing"),
        (("--server", "http://127.0.0.1:9"), "--user"),
        (("--server", "http://127.0.0.1:9", "--user", "li", "--days", "3"), "--days"),
        (("--staffing", "--arrivals-per-hour", "10000", "--handling-min", "10000"), "no number of experts"),
    ],
)
def test_options_that_do_not_go_together(run, words, said):
    code, _, err = run("queue", *words)
    assert code == Exit.USAGE
    assert said in err


def test_the_line_and_its_figures_from_the_folder(run, tmp_path):
    import time

    now_us = time.time_ns() // 1000
    hire(tmp_path / "service.db", staff())
    with ServiceState(tmp_path / "service.db") as state:
        need = Need("danger", ("isolation",), ("isolation",), "Huizhen", "EV400", "zh")
        WaitStore(state).save(
            [
                Entry(1, "a" * 12, need, now_us - 7_200 * S, now_us - 7_200 * S, holder="li",
                      accepted_us=now_us - 7_170 * S, finding_us=now_us - 7_000 * S, ended_us=now_us - 5_970 * S,
                      ending="resolved"),
                Entry(2, "b" * 12, need, now_us - 61 * S, now_us - 61 * S),
                Entry(3, "c" * 12, Need(), now_us - 600 * S, now_us - 600 * S, holder="mo", accepted_us=now_us),
            ]
        )  # fmt: skip
    code, out, _ = run("queue", "--data", str(tmp_path))
    assert code == Exit.DONE
    assert "Waiting: 1, taken: 1; experts on duty: 3." in out
    assert "taken (Mo)" in out
    assert "(Erlang C)" in out
    out = run("queue", "--data", str(tmp_path), lang="zh")[1]
    assert "危险" in out
    assert "绝缘" in out
    told = json.loads(run("queue", "--data", str(tmp_path), "--json")[1])
    assert told["schema"] == "huizhen.queue/1"
    assert [(one["place"], one["room"]) for one in told["waiting"]] == [(1, "b" * 12)]
    assert told["stats"]["accept"]["n"] == 2
    assert told["stats"]["resolve"]["mean_s"] == 1200.0
    assert len(told["staffing"]["by_hour"]) == 24
    (tmp_path / "short.toml").write_text(f'data = "{tmp_path}"\n[queue]\naccept_s = 10\n')
    told = json.loads(run("queue", "--config", str(tmp_path / "short.toml"), "--json")[1])
    assert told["targets_s"]["accept"] == 10


def test_makes_and_a_limit_of_an_account(run, tmp_path):
    folder = ("--data", str(tmp_path / "rooms"))
    words = ("user", "add", "li", "--make", "Huizhen", "--make", "Other", "--at-once", "4", *folder)
    assert run(*words, typed=f"{PASSWORD}\n")[0] == Exit.DONE
    told = json.loads(run("user", "list", "--json", *folder)[1])["accounts"][0]
    assert (told["makes"], told["at_once"]) == (["Huizhen", "Other"], 4)
    assert run("user", "set", "li", "--at-once", "0", *folder)[0] != Exit.DONE


# -- about how long ----------------------------------------------------------------------------------------------------


def test_the_estimate_is_told_from_what_is_known():
    def figures(answer_s=None, handling_s=None):
        return QueueFigures(0, answer_s, handling_s, {})

    one, two = Expert("li", at_once=1), Expert("mo", at_once=1, load=1)
    assert estimate_s(1, [one, two], figures(40.0, 600.0)) == 40.0
    assert estimate_s(3, [one, two], figures(40.0, 600.0)) == 600.0, "two before it, two hands, one free"
    assert estimate_s(1, [], figures(40.0, 600.0)) is None
    assert estimate_s(2, [one, two], figures(40.0)) is None


# -- the technician's terminal -----------------------------------------------------------------------------------------


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    config = ServiceConfig(
        data=tmp_path / "rooms",
        state=tmp_path / "rooms" / "service.db",
        now_us=clock.us,
        queue=QueueConfig(offer_s=600),
    )
    hire(config.state, staff())
    return config


class Said:
    """A console that remembers."""

    def __init__(self, lang):
        from huizhen.language import Translator

        self.tr = Translator(lang)
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_the_terminal_says_the_consent_the_place_and_who_took_it(service, eventually, monkeypatch, lang):
    from huizhen import roomwaiting

    monkeypatch.setattr(roomwaiting, "_AGAIN_S", 0.05)
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    said, report = Said(lang), sick_report()

    async def nothing():
        return
        yield

    async with joined_room(service.url, service.invite_technician().code, name="Wang") as agent:
        waiting = roomwaiting.RoomWaiting(agent, report, said)
        await waiting.let_experts_in()
        running = asyncio.create_task(agent.run(report, StreamSchema(0, ()), nothing()))
        watching = asyncio.create_task(waiting.watch())
        queue = queue_of(service)
        await eventually(lambda: queue.line.entries[agent.room].offers)
        entry = queue.line.entries[agent.room]
        assert (entry.need.language, entry.need.region) == (lang, "CN")
        async with queue.change() as steps:
            offered = queue.line.entries[agent.room]
            expert = next(one for one in queue.on_duty() if offered.offer_to(one.name))
            steps.extend(queue.line.accept(agent.room, expert, service.config.now_us()))
        await eventually(lambda: len(said.notes) >= 3)
        watching.cancel()
        agent.leave()
        await asyncio.gather(running, watching, return_exceptions=True)
    name = service.state.find_account(expert.name).shown_name
    wanted = {
        "en": [("Asked for an expert of the service: by that you agree that the one who takes the car sees the room, "
                "and leads may look."), "Queue: first in line.", f"{name} has taken the car."],
        "zh": ["已呼叫服务的专家：这表示您同意接单的专家查看此会诊室，首席专家也可查看。",
               "排队：排在第 1 位。", f"{name} 已接单。"],
    }[lang]  # fmt: skip
    assert said.notes == wanted


async def test_a_service_without_accounts_says_so(tmp_path):
    from consult.service import running_service
    from huizhen.roomwaiting import RoomWaiting

    said = Said("en")
    async with (
        running_service(ServiceConfig(data=tmp_path / "rooms")) as service,
        joined_room(service.url, service.invite_technician().code) as agent,
    ):
        await RoomWaiting(agent, sick_report(), said).escalate()
        await RoomWaiting(agent, sick_report("direct"), said).let_experts_in()
    assert said.notes == ["this service has no experts with an account; send an invite instead (/invite)"] * 2


async def test_the_queue_of_a_service_elsewhere(service, tmp_path):
    import os
    import sys

    async def ask(name, password):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "huizhen", "--lang", "en", "consult", "queue", "--server", service.url,
            "--user", name, "--json", env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "settings")},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(120):
            out, err = await process.communicate(f"{password}\n".encode())
        return process.returncode, out.decode(), err.decode()

    code, out, _ = await ask("wu", PASSWORD)
    assert code == Exit.DONE
    told = json.loads(out)
    assert (told["schema"], told["on_duty"], told["waiting"]) == ("huizhen.queue/1", 3, [])
    assert service.state.rows("SELECT * FROM login") == [], "signed out again"
    code, _, err = await ask("wu", "not the password")
    assert code == Exit.REMOTE
    assert "name or password is wrong" in err


class FakeAgent:
    """A laptop whose service has a queue, or is of an earlier version."""

    def __init__(self, *, has_queue):
        self.has_queue = has_queue
        self.asked = []

    async def let_experts_in(self):
        self.asked.append("experts")

    async def escalate(self, **words):
        self.asked.append("escalate")
        if not self.has_queue:
            raise ServerRefused("http://127.0.0.1/r/x/escalate", 404)
        return {"can_escalate": True, "state": "waiting", "place": 1, "on_duty": 1}

    async def place(self):
        if not self.has_queue:
            raise ServerRefused("http://127.0.0.1/r/x/queue", 404)
        return {"can_escalate": True, "state": "", "place": None}


@pytest.mark.parametrize(
    ("verdict", "has_queue", "asked", "told"),
    [
        ("expert", True, ["escalate"], ["Asked for an expert of the service", "Queue: first in line."]),
        ("expert", False, ["escalate", "experts"], ["this service has no queue"]),
        ("direct", True, ["experts"], ["the car does not wait in the queue, because the case library did not call"]),
        ("direct", False, ["experts"], ["this service has no queue"]),
    ],
)
async def test_escalating_is_the_consent_and_needs_no_other(verdict, has_queue, asked, told):
    from huizhen.roomwaiting import RoomWaiting

    agent, said = FakeAgent(has_queue=has_queue), Said("en")
    await RoomWaiting(agent, sick_report(verdict), said).let_experts_in()
    assert agent.asked == asked
    assert len(said.notes) == len(told)
    assert all(part in note for part, note in zip(told, said.notes, strict=True))
