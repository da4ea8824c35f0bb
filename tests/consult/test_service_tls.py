"""The local authority, by OpenSSL's and Chromium's own judgement."""

import asyncio
import dataclasses
import datetime as dt
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys

import aiohttp
import pytest
from conftest import CHROMIUM, FLAGS
from cryptography import x509
from servicekit import browser_like

from consult.certificates import LocalAuthority, ServiceCertificate, local_names
from consult.errors import CertificateBroken
from consult.joining import joined_room
from consult.service import ServiceConfig, running_service

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", tls_auto=True, trust_port=0)


@pytest.fixture
def authority(tmp_path):
    return LocalAuthority(tmp_path / "tls", NOW)


def names_of(path):
    found = x509.load_pem_x509_certificate(path.read_bytes()).extensions
    alternative = found.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = map(str, alternative.get_values_for_type(x509.IPAddress))
    return {*alternative.get_values_for_type(x509.DNSName), *addresses}


async def test_who_trusts_the_authority_trusts_the_service_and_nobody_else_does(service):
    strangers = ssl.create_default_context()
    trusting = ssl.create_default_context(cafile=str(service.certificate.authority.certificate_path))
    assert service.url.startswith("https://127.0.0.1:")
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{service.url}/join", ssl=trusting) as answer:
            assert answer.status == 200
            assert "Strict-Transport-Security" not in answer.headers, "it would lock the trust page out"
        async with http.get(service.url.replace("127.0.0.1", "localhost"), ssl=trusting) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(f"{service.url}/join", ssl=strangers)


async def test_an_agent_joins_with_the_authority_s_file(service, car, report):
    code = service.invite_technician().code
    async with joined_room(service.url, code, ca=service.certificate.authority.certificate_path) as agent:
        assert service.room(agent.room)


async def test_the_trust_page_is_served_without_tls_and_nothing_else_is(service):
    assert service.trust_url.startswith("http://127.0.0.1:")
    root = service.trust_url.removesuffix("/trust")
    async with aiohttp.ClientSession() as http:
        async with http.get(service.trust_url, headers={"Accept-Language": "zh-CN,zh;q=0.9"}) as answer:
            text = await answer.text()
            assert answer.headers["Content-Type"].startswith("text/html")
        assert 'lang="zh"' in text
        assert "iPhone" in text
        assert service.certificate.authority.fingerprint in text
        assert service.url in text
        assert "<svg" in text
        assert "<script" not in text
        assert "style=" not in text
        async with http.get(f"{service.trust_url}?lang=en") as answer:
            english = await answer.text()
        for system in ("Android", "iPhone", "Windows", "macOS", "Linux", "Firefox"):
            assert system in english
        async with http.get(f"{service.trust_url}/ca.crt") as answer:
            assert answer.headers["Content-Type"] == "application/x-x509-ca-cert"
            assert x509.load_pem_x509_certificate(await answer.read()) == service.certificate.authority.certificate
        for path in ("/join", "/redeem", "/health", "/metrics", "/api/me"):
            async with http.get(f"{root}{path}") as answer:
                assert answer.status == 404
        async with http.get(service.trust_url, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403


async def test_without_an_authority_there_is_nothing_to_trust(tmp_path):
    async with running_service(ServiceConfig(data=tmp_path)) as service, aiohttp.ClientSession() as http:
        for path in ("/trust", "/trust/ca.crt"):
            async with http.get(f"{service.url}{path}") as answer:
                assert answer.status == 404


async def test_the_authority_outlives_a_restart(config):
    async with running_service(config) as service:
        first = service.certificate.authority.fingerprint, service.fingerprint
    async with running_service(config) as service:
        assert (service.certificate.authority.fingerprint, service.fingerprint) == first


@pytest.mark.parametrize("name", ["ca.key", "server.key"])
async def test_keys_are_for_their_owner_alone(service, name):
    assert (service.config.data / "tls" / name).stat().st_mode & 0o077 == 0


def test_the_certificate_follows_names_and_time(authority):
    here = (frozenset({"localhost"}), frozenset({"127.0.0.1", "192.168.7.9"}))
    chain, _ = authority.server_certificate(here, NOW)
    first = chain.read_bytes()
    assert names_of(chain) == {"localhost", "127.0.0.1", "192.168.7.9"}
    authority.server_certificate(here, NOW + dt.timedelta(days=300))
    assert chain.read_bytes() == first, "good for a while yet"
    authority.server_certificate(here, NOW + dt.timedelta(days=340))
    assert chain.read_bytes() != first, "renewed before its end"
    authority.server_certificate((here[0], frozenset({"192.168.7.10"})), NOW + dt.timedelta(days=340))
    assert names_of(chain) == {"localhost", "192.168.7.10"}


def test_a_stolen_authority_can_vouch_for_nobody_on_the_internet(authority, tmp_path):
    """OpenSSL's verdict on a certificate that the key signs although the constraints forbid its name."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    authority._allows = lambda _: True
    for name, good in (("bank.example.com", False), ("8.8.8.8", False), ("workshop.local", True), ("10.1.2.3", True)):
        is_address = name[0].isdigit()
        wanted = (frozenset(() if is_address else (name,)), frozenset((name,) if is_address else ()))
        chain, _ = authority.server_certificate(wanted, NOW)
        words = ["verify", "-attime", str(int(NOW.timestamp())), "-CAfile", str(authority.certificate_path), str(chain)]
        verdict = subprocess.run([openssl, *words], capture_output=True, text=True, check=False)
        assert (verdict.returncode == 0) is good, verdict.stderr
        assert good or "permitted subtree violation" in verdict.stderr


def test_names_that_may_not_be_vouched_for_are_left_out(authority):
    wanted = (frozenset({"localhost", "bank.example.com"}), frozenset({"10.0.0.7", "8.8.8.8"}))
    chain, _ = authority.server_certificate(wanted, NOW)
    assert names_of(chain) == {"localhost", "10.0.0.7"}


def test_a_service_on_all_addresses_is_named_by_all_of_them():
    names, addresses = local_names("0.0.0.0", "https://workshop.local:8443")
    assert "workshop.local" in names
    assert "127.0.0.1" in addresses
    assert "0.0.0.0" not in addresses


def test_a_laptop_in_another_network_gets_a_certificate_for_it(tmp_path, monkeypatch):
    here = {"192.168.7.9"}
    monkeypatch.setattr("consult.certificates._addresses_of_machine", lambda: set(here))
    certificate = ServiceCertificate(ServiceConfig(data=tmp_path, host="0.0.0.0", tls_auto=True))
    assert certificate.names("https://192.168.7.9:8443")
    assert not certificate.renew_if_due()
    here.add("10.9.8.7")
    assert not certificate.names("https://10.9.8.7:8443")
    assert certificate.renew_if_due()
    assert certificate.names("https://10.9.8.7:8443")


@pytest.mark.parametrize(
    "damage",
    [lambda tls: (tls / "ca.crt").write_text("no certificate"), lambda tls: (tls / "ca.key").write_text("no key"),
     lambda tls: (tls / "ca.crt").unlink()],
    ids=["certificate", "key", "missing"],
)  # fmt: skip
def test_an_authority_that_is_damaged_is_not_silently_replaced(authority, damage):
    damage(authority.folder)
    with pytest.raises(CertificateBroken):
        LocalAuthority(authority.folder, NOW)


async def test_a_certificate_that_was_replaced_is_taken_up_while_the_service_runs(config, tmp_path):
    authority = LocalAuthority(tmp_path / "other", dt.datetime.now(dt.UTC))
    here = (frozenset({"localhost"}), frozenset({"127.0.0.1"}))
    cert, key = authority.server_certificate(here, dt.datetime.now(dt.UTC))
    files = dataclasses.replace(config, tls_auto=False, trust_port=None, tls_cert=cert, tls_key=key)
    trusting = ssl.create_default_context(cafile=str(authority.certificate_path))
    async with running_service(files) as service:
        before = service.fingerprint
        authority.server_certificate((frozenset({"localhost", "x.local"}), here[1]), dt.datetime.now(dt.UTC))
        assert service.certificate.renew_if_due()
        assert service.certificate.fingerprint != before
        async with aiohttp.ClientSession() as http, http.get(f"{service.url}/join", ssl=trusting) as answer:
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"]
        cert.write_text("broken")
        with pytest.raises(CertificateBroken):
            service.certificate.renew_if_due()
        async with aiohttp.ClientSession() as http, http.get(f"{service.url}/join", ssl=trusting) as answer:
            assert answer.status == 200, "the old one stays in use"


async def shown_by_chromium(url, home, profile):
    """What a Chromium of this home directory makes of a page."""
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(120):
        return (await process.communicate())[0]


@pytest.mark.browser
async def test_chromium_that_trusts_the_authority_has_no_complaint(service, tmp_path):
    certutil = shutil.which("certutil")
    if certutil is None:
        pytest.skip("certutil (Debian: libnss3-tools) is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    home = tmp_path / "home"
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    ca = str(service.certificate.authority.certificate_path)
    for words in (["-N", "--empty-password"], ["-A", "-n", "huizhen", "-t", "C,,", "-i", ca]):
        made = await asyncio.create_subprocess_exec(certutil, "-d", f"sql:{store}", *words)
        assert await made.wait() == 0
    url = f"{service.url}/join"
    assert b"door-brand" in await shown_by_chromium(url, home, tmp_path / "trusting")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    assert b"door-brand" not in await shown_by_chromium(url, stranger, tmp_path / "refusing")


async def test_a_room_on_a_laptop_is_encrypted_too(tmp_path):
    words = ("consult", "open", "--demo", "--listen", "1", "--tls", "auto", "--json", "--data", str(tmp_path / "rooms"))
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "huizhen", *words, env=environment, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(120):
            offer = json.loads(await process.stdout.readline())
        assert offer["url"].startswith("https://127.0.0.1:")
        url, _, code = offer["url"].partition("/join#")
        trusting = ssl.create_default_context(cafile=str(tmp_path / "rooms" / "tls" / "ca.crt"))
        async with browser_like() as http:
            async with http.post(f"{url}/redeem", json={"invite": code}, ssl=trusting) as answer:
                assert answer.status == 200
                assert answer.cookies["huizhen_session"]["secure"], "the cookie goes nowhere without TLS"
                path = (await answer.json())["path"]
            async with http.ws_connect(f"{url}{path}/watch", ssl=trusting) as channel:
                assert json.loads((await channel.receive()).data)["type"] == "welcome"
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()
