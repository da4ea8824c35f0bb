"""Who was told what, and agreed to what: kept with its wording, withdrawn at any time."""

import dataclasses
import html

import pytest
from privacykit import (
    MovedClock,
    add_account,
    get,
    hello,
    invited,
    post,
    privacy_config,
    report_of,
    sign_in,
    technician,
    visitor,
)

from consult.consenttexts import KINDS, TEXTS, consent_texts, notice_text, version_of
from consult.invites import Role
from consult.privacyconfig import PrivacyConfig
from consult.privacypage import privacy_page
from consult.privacystore import PrivacyStore
from consult.service import running_service

VISIT_DAYS = 1095
OURS = {"operator": "Werkstatt Süd", "contact": "privacy@example.com", "retention_days": 30}


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
async def service(tmp_path, clock):
    async with running_service(privacy_config(tmp_path, clock, **OURS)) as running:
        yield running


def version(**privacy):
    return version_of("notice", notice_text(PrivacyConfig(**privacy), VISIT_DAYS))


def test_every_change_of_a_wording_is_another_version():
    assert version(**OURS) == version(**OURS)
    assert len({version(**OURS), version(**OURS | {"retention_days": 31}), version(**OURS | {"operator": "X"})}) == 3
    text = TEXTS["media"]
    assert version_of("media", text) != version_of("media", dataclasses.replace(text, zh=text.zh + "。"))
    assert version_of("media", text) != version_of("position", text)


async def test_what_a_visitor_was_shown_is_kept_with_its_wording(service, clock):
    async with visitor() as laptop, visitor() as expert, visitor() as observer:
        token, path = await technician(laptop, service)
        _, notice = await get(expert, service.url, "/api/privacy")
        assert notice["version"] == version(**OURS)
        assert "30 days" in notice["notice"]["en"]
        assert "30 天" in notice["notice"]["zh"]
        assert (await invited(expert, service, path, notice=notice["version"], lang="zh"))[0] == 200
        assert (await invited(observer, service, path, Role.OBSERVER))[0] == 200, "programs need not show one"
        _, told = await get(laptop, service.url, f"{path}/consent", token)
        (one,) = told["consents"]
        assert (one["kind"], one["given"], one["version"], one["lang"], one["name"], one["t_us"]) == (
            "notice", True, notice["version"], "zh", "Li", clock.us(),
        )  # fmt: skip
        kept = PrivacyStore(service.state).texts()
        assert kept[one["version"]]["text"] == notice["notice"]
        assert {entry["kind"] for entry in kept.values()} == set(KINDS)
        assert len((await get(expert, service.url, f"{path}/consent"))[1]["consents"]) == 1
        assert (await get(observer, service.url, f"{path}/consent"))[1]["consents"] == [], "others' are not theirs"


async def test_a_notice_that_has_changed_since_is_shown_again_and_the_invite_stays_good(service):
    async with visitor() as laptop, visitor() as expert:
        _, path = await technician(laptop, service)
        code = service.invite(path[3:], Role.EXPERT).code
        old = {"invite": code, "name": "Li", "notice": version(retention_days=7), "lang": "en"}
        status, body = await post(expert, service.url, "/redeem", old)
        assert (status, body["error"]) == (409, "consult.notice-missing")
        assert (await post(expert, service.url, "/redeem", old | {"notice": version(**OURS)}))[0] == 200


async def test_where_the_owner_asks_for_it_no_page_gets_in_without_the_notice(tmp_path, clock):
    config = privacy_config(tmp_path, clock, notice_required=True, **OURS)
    async with running_service(config) as service, visitor() as laptop, visitor() as expert, visitor() as li:
        token, path = await technician(laptop, service)
        assert (await invited(expert, service, path))[0] == 409
        assert (await invited(expert, service, path, notice=version(**OURS)))[0] == 200
        add_account(service, "li")
        await post(laptop, service.url, f"{path}/experts", {"allowed": True}, token)
        await sign_in(li, service, "li")
        assert (await post(li, service.url, f"{path}/enter"))[0] == 409
        assert (await post(li, service.url, f"{path}/enter", {"notice": version(**OURS)}))[0] == 200
        (one,) = PrivacyStore(service.state).consents(account="li")
        assert (one.kind, one.room) == ("notice", path[3:])


async def test_consents_of_the_room_are_given_to_the_wording_of_now_and_withdrawn(service):
    async with visitor() as laptop, visitor() as expert:
        token, path = await technician(laptop, service)
        assert (await invited(expert, service, path))[0] == 200
        where, media = f"{path}/consent", version_of("media", TEXTS["media"])
        for body, status in (
            ({"kind": "media", "given": True}, 409),
            ({"kind": "media", "given": True, "version": "0" * 16}, 409),
            ({"kind": "media", "given": True, "version": media}, 200),
            ({"kind": "media", "given": False}, 200),
            ({"kind": "everything", "given": True}, 400),
            ({"kind": "media", "given": 1}, 400),
            ({"kind": "position", "given": False}, 403),
        ):
            assert (await post(expert, service.url, where, body))[0] == status, body
        found = (await get(laptop, service.url, where, token))[1]["consents"]
        assert [(one["kind"], one["given"]) for one in found] == [("media", True), ("media", False)]


async def test_what_happens_in_the_room_is_a_consent_too(service, eventually):
    async with visitor() as laptop, visitor() as expert:
        token, path = await technician(laptop, service)
        assert (await invited(expert, service, path))[0] == 200
        room, store = service.rooms[path[3:]], PrivacyStore(service.state)
        who = {"id": 2, "role": "expert", "name": "Li"}
        room.happen("consent", who, 1_000, body={"given": True})
        room.happen("consent", who, 2_000, body={"given": False})
        lift = {"lift": True, "reason": "thermal"}
        assert (await post(laptop, service.url, f"{path}/region", lift, token))[0] == 200
        await eventually(lambda: len(store.consents(room=path[3:])) == 3)
        found = [(one.kind, one.is_given, one.name) for one in store.consents(room=path[3:])]
        assert found == [("media", True, "Li"), ("media", False, "Li"), ("export-abroad", True, "")]


async def test_a_withdrawn_lift_ends_at_once(tmp_path, clock):
    from privacykit import ABROAD, RULES

    from consult.accounts import AccountRole

    config = privacy_config(tmp_path, clock, regions=RULES)
    async with (
        running_service(config) as service,
        visitor() as laptop,
        visitor() as admin,
        visitor(ABROAD) as muller,
    ):
        add_account(service, "chief", AccountRole.ADMIN)
        add_account(service, "muller", region="EU")
        token, path = await technician(laptop, service)
        await post(laptop, service.url, f"{path}/experts", {"allowed": True}, token)
        await sign_in(admin, service, "chief")
        await sign_in(muller, service, "muller")
        for one, key in ((laptop, token), (admin, None)):
            assert (await post(one, service.url, f"{path}/region", {"lift": True, "reason": "x"}, key))[0] == 200
        assert (await post(muller, service.url, f"{path}/enter"))[0] == 200
        withdrawn = {"kind": "export-abroad", "given": False}
        assert (await post(laptop, service.url, f"{path}/consent", withdrawn, token))[0] == 200
        assert (await post(muller, service.url, f"{path}/renew"))[0] == 403


async def test_names_go_with_the_room_and_the_proof_with_the_audit(service, clock):
    store = PrivacyStore(service.state)
    async with visitor() as laptop, visitor() as expert:
        _, path = await technician(laptop, service)
        assert (await invited(expert, service, path, notice=version(**OURS)))[0] == 200
        store.note_cars(path[3:], [b"h" * 32])
        assert store.forget_consents(clock.us() + 1) == 0, "the room's record is still there"
        store.forget_room(path[3:])
        (one,) = store.consents(room=path[3:])
        assert (one.name, one.version) == ("", version(**OURS))
        assert store.forget_consents(clock.us() + 1) == 1


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_privacy_page_says_who_what_why_how_long_in_both_languages(lang):
    privacy = PrivacyConfig(operator="<b>Süd</b>", contact="a@example.com", region="CN", retention_days=45)
    page = privacy_page(lang, privacy, audit_days=365, version="0123456789abcdef", visit_days=777, waiting_days=400)
    assert "&lt;b&gt;Süd&lt;/b&gt;" in page
    assert "<script" not in page
    assert "style=" not in page
    for said in ("a@example.com", "CN", "45", "365", "777", "400", "0123456789abcdef", f'lang="{lang}"'):
        assert said in page, said
    for text in consent_texts(777).values():
        assert html.escape(text.in_language(lang)) in page
    named = (
        ("冻结画面", "通话录制", "到店记录", "案例草稿")
        if lang == "zh"
        else ("frozen pictures", "recordings of calls", "Visits", "Drafts")
    )
    for what in named:
        assert what in page
    alone = privacy_page(lang, privacy, audit_days=365, version="0123456789abcdef")
    assert ("到店记录" if lang == "zh" else "isit") not in alone, "a service without a network keeps none"


async def test_the_privacy_page_is_for_everybody(service):
    async with visitor("198.51.100.9") as anybody:
        for path, kind in (
            ("/privacy", "text/html"),
            ("/privacy?lang=zh", "text/html"),
            ("/privacy/style.css", "text/css"),
        ):
            async with anybody.get(f"{service.url}{path}") as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_laptop_s_setting_for_positions_is_a_consent(service, eventually):
    async with visitor() as laptop:
        token, path = await technician(laptop, service)
        store = PrivacyStore(service.state)
        where, bearer = f"{service.url}{path}/agent", {"Authorization": f"Bearer {token}"}
        async with laptop.ws_connect(where, headers=bearer) as agent:
            for allows in ({}, {"position": "coarse"}, {"position": "coarse"}, {"position": "off"}):
                await agent.send_str(hello(report_of(), allows))
            await eventually(lambda: len(store.consents(room=path[3:])) == 2)
        found = [(one.kind, one.is_given, one.name) for one in store.consents(room=path[3:])]
        assert found == [("position", True, "Wang"), ("position", False, "Wang")]
