"""The configuration file: what it sets, and the line that every mistake is told with."""

import contextlib
import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.configfile import SETTINGS, load_config
from consult.errors import ConfigBroken, ConfigUnreadable
from consult.mediaconfig import MediaConfig
from consult.privacyconfig import PrivacyConfig
from consult.serviceconfig import IceServer, Limits, ServiceConfig
from huizhen.cli import main
from huizhen.exits import Exit

WHOLE = """\
host = "0.0.0.0"
port = 9000
data = "rooms"
public_url = "https://room.example.com"
tls = "off"
trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
webrtc = false
relay_only = true
metrics_token = "0123456789abcdef"

[limits]
rooms = 5
logins = 10
request_s = 7.5

[retention]
audit_days = 30

[media]
engine = "janus"
url = "ws://10.0.0.5:8188"
secret = "the-engine-s-secret"
interface = "10.0.0.5,eth1"
public_ip = "203.0.113.7"
ports = "20000-20400"
bitrate_kbps = 800
record_mb = 100

[privacy]
encrypt = false
master_key_file = "secrets/master.key"

[[turn]]
urls = ["stun:turn.example.com"]

[[turn]]
urls = ["turn:turn.example.com:3478?transport=udp", "turns:turn.example.com:5349"]
secret = "shared"

[[turn]]
urls = ["turn:[2001:db8::1]:3478"]
username = "u"
credential = "c"
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "service.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return load


def test_every_setting_arrives(load, tmp_path):
    found = ServiceConfig(**load(WHOLE))
    assert found.data == tmp_path / "rooms", "paths count from the file's folder"
    assert (found.host, found.port, found.public_url) == ("0.0.0.0", 9000, "https://room.example.com")
    assert found.trusted_proxies == tuple(map(ipaddress.ip_network, ("127.0.0.1", "10.0.0.0/8", "fd00::/8")))
    assert found.limits == Limits(rooms=5, logins=10, request_s=7.5)
    assert (found.webrtc, found.relay_only, found.tls_auto, found.audit_days) == (False, True, False, 30)
    assert found.media == MediaConfig(
        engine="janus", url="ws://10.0.0.5:8188", secret="the-engine-s-secret", interface="10.0.0.5,eth1",
        public_ip="203.0.113.7", ports=(20_000, 20_400), bitrate_kbps=800, record_mb=100,
    )  # fmt: skip
    assert load('[media]\nengine = "none"\njanus = "bin/janus"\n')["media"].janus == tmp_path / "bin" / "janus"

    assert found.privacy == PrivacyConfig(encrypt=False, master_key_file=tmp_path / "secrets" / "master.key")
    assert found.ice == (
        IceServer(("stun:turn.example.com",)),
        IceServer(("turn:turn.example.com:3478?transport=udp", "turns:turn.example.com:5349"), secret="shared"),
        IceServer(("turn:[2001:db8::1]:3478",), "u", "c"),
    )


def test_secrets_are_not_shown(load):
    shown = repr(ServiceConfig(**load(WHOLE)))
    assert "shared" not in shown
    assert "the-engine-s-secret" not in shown
    assert "0123456789abcdef" not in shown


def test_every_limit_can_be_set():
    from dataclasses import fields

    assert {part.name for part in fields(Limits)} == set(SETTINGS["limits"])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('host = "x"\nhots = "y"\n', 2, "no setting 'hots'"),
        ("\n\nport = 70000\n", 3, "a whole number from 0 to 65535"),
        ("port = true\n", 1, "a whole number"),
        ('port = "8443"\n', 1, "a whole number"),
        ("host = 7\n", 1, "a text that is not empty"),
        ('host = "x"\n\n[limits]\n# some\nrooms = 0\n', 5, "a whole number from 1 to 10000"),
        ("[limits]\nroms = 1\n", 2, "no setting 'roms'"),
        ('host = "x"\n[limit]\nrooms = 1\n', 2, "no table 'limit'"),
        ("limits = 3\n", 1, "limits is a table"),
        ('[turn]\nurls = ["turn:x"]\n', 1, "[[turn]]"),
        ('[[turn]]\nurls = ["turn:a"]\nsecret = "s"\n\n[[turn]]\nurls = ["turn:b"]\n', 5, "a relay has urls"),
        ('[[turn]]\nurls = ["stun:a"]\nsecret = "s"\n', 1, "a relay has urls"),
        ('[[turn]]\nurls = ["turn:a"]\nusername = "s"\n', 1, "a relay has urls"),
        (
            '[[turn]]\nurls = ["turn:a"]\nsecret = "s"\n[[turn]]\nurls = ["http://b"]\nsecret = "s"\n',
            5,
            "a list such as",
        ),
        ('trusted_proxies = "10.0.0.0/8"\n', 1, "a list of networks"),
        ('trusted_proxies = ["10.0.0.1/8"]\n', 1, "a list of networks"),
        ('public_url = "room.example.com"\n', 1, "https://NAME"),
        ('public_url = "https://room.example.com/path"\n', 1, "without a path"),
        ('tls = "maybe"\n', 1, '"auto" or "off"'),
        ('tls = "auto"\ntls_cert = "a.pem"\n', 2, "makes its own"),
        ('metrics_token = "short"\n', 1, "at least 16"),
        ('host = "x"\nport = \n', 2, "Invalid value"),
        ("[limits]\nrequest_s = nan\n", 2, "seconds from 1 to 600"),
        ('[media]\nengine = "jitsi"\n', 2, '"janus" or "none"'),
        ('[media]\nurl = "http://x"\n', 2, "ws://HOST:PORT"),
        ('[media]\nurl = "ws://x:1"\n', 1, "url and secret"),
        ('[media]\njanus = "x"\nurl = "ws://x:1"\nsecret = "0123456789abcdef"\n', 1, "url and secret"),
        ('[media]\nports = "1-2"\n', 2, "a range of ports"),
        ('[media]\npublic_ip = "example.com"\n', 2, "an address such as"),
        ('[media]\ninterface = "eth0\\"; x"\n', 2, "addresses or interfaces"),
    ],
)
def test_a_mistake_is_told_with_its_line(load, text, line, said):
    with pytest.raises(ConfigBroken) as caught:
        load(text)
    assert caught.value.line == line
    assert said in str(caught.value)
    assert "service.toml" in str(caught.value)


toml_values = st.one_of(
    st.booleans(), st.integers(-(10**6), 10**6), st.floats(), st.text(max_size=5).filter(str.isalnum),
    st.lists(st.integers(0, 9), max_size=3),
)  # fmt: skip


@given(st.sampled_from([(table, key) for table, keys in SETTINGS.items() for key in keys]), toml_values)
def test_no_value_raises_anything_else(tmp_path_factory, which, value):
    table, key = which
    path = tmp_path_factory.getbasetemp() / "one.toml"
    head = f"[[{table}]]\n" if table in ("turn", "webhook") else f"[{table}]\n" if table else ""
    shown = json.dumps(value) if not isinstance(value, float) else repr(value)
    path.write_text(f"{head}{key} = {shown}\n", encoding="utf-8")
    with contextlib.suppress(ConfigBroken):
        ServiceConfig(**({"data": path.parent} | load_config(path)))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigUnreadable, match="No such file"):
        load_config(tmp_path / "none.toml")


# -- huizhen consult serve --check -------------------------------------------------------------------------------------


@pytest.fixture
def serve(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))

    def serve(text, *words, lang="en"):
        path = tmp_path / "service.toml"
        path.write_text(text, encoding="utf-8")
        code = main(["--lang", lang, "consult", "serve", "--config", str(path), "--check", *words])
        return (code, *capsys.readouterr())

    return serve


def test_check_says_that_a_configuration_works(serve, tmp_path):
    code, out, err = serve(WHOLE, "--json")
    assert (code, err) == (Exit.DONE, "")
    assert json.loads(out) == {
        "schema": "huizhen.service-check/1", "host": "0.0.0.0", "port": 9000, "public_url": "https://room.example.com",
        "media": "janus", "data": str(tmp_path / "rooms"), "tls": "off", "accounts": 0, "open_rooms": 0,
        "relays": [
            "stun:turn.example.com", "turn:turn.example.com:3478?transport=udp", "turns:turn.example.com:5349",
            "turn:[2001:db8::1]:3478",
        ],
        "trusted_proxies": ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"], "webhooks": [], "log": "terminal",
    }  # fmt: skip
    assert "The configuration works" in serve(WHOLE)[1]


def test_an_option_counts_more_than_the_file(serve):
    found = json.loads(serve(WHOLE, "--json", "--host", "127.0.0.1", "--port", "1", "--tls", "auto")[1])
    assert (found["host"], found["port"], found["tls"]) == ("127.0.0.1", 1, "auto")


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("prot = 1\n", (), "line 1: no setting 'prot'"),
        ('data = "/proc/x"\n', (), "cannot keep recordings in /proc/x"),
        ('tls_cert = "none.pem"\n', (), "cannot use the certificate"),
        ('tls = "auto"\n', ("--tls", "auto", "--tls-cert", "x.pem"), "do not go with --tls"),
    ],
)
def test_check_says_what_does_not_work(serve, text, words, said):
    code, out, err = serve(text, *words)
    assert (code, out) == (Exit.USAGE, "")
    assert said in err
    assert err.count("\n") == 1


def test_mistakes_are_told_in_chinese_too(serve):
    assert "第 1 行：没有设置项“prot”" in serve("prot = 1\n", lang="zh")[2]


@pytest.mark.parametrize("page", ["room-service.md", "zh/room-service.md"])
def test_every_setting_is_documented(page):
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    missing = [key for keys in SETTINGS.values() for key in keys if f"`{key}`" not in text]
    assert missing == []


def test_check_misses_a_media_engine_that_is_not_there(serve):
    code, out, err = serve('[media]\nengine = "janus"\njanus = "no-such-janus"\n')
    assert (code, out) == (Exit.USAGE, "")
    assert "no program" in err
    assert "[media]" in err
