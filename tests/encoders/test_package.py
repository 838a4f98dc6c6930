"""An encoder of another package: the one on the page docs/guides/your-own-encoder.md, and broken ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fakes
import pytest

from vidmem.encoders import EncoderSpec, find, registry
from vidmem.errors import ModelError, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "your-own-encoder.md"
FILE = re.compile(r"^`([\w./-]+)`:\n\n(?:<!-- skip[^\n]*-->\n\n)?```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BROKEN = {
    "broken": "import no_such_library",
    "other": "OTHER = 5",
    "tiny": "from vidmem.encoders.tiny.spec import TINY",
}
"""Names of encoders and the modules that offer them."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of site packages with the page's package in it."""
    home = tmp_path_factory.mktemp("hues")
    files = dict(FILE.findall(PAGE.read_text("utf-8")))
    assert files.keys() == {"pyproject.toml", "vidmem_hues/__init__.py", "vidmem_hues/encoder.py", "tests/test_hues.py"}
    for name, text in files.items():
        path = home / "vidmem-hues" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", home / "site", home / "vidmem-hues"], check=True)
    return home


def add_broken(site: Path) -> None:
    """As pip would install them: modules and the metadata of their packages."""
    site.mkdir()
    for name, code in BROKEN.items():
        (site / f"vidmem_{name}.py").write_text(code, "utf-8")
        facts = site / f"vidmem_{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vidmem-{name}\nVersion: 1.0\n", "utf-8")
        (facts / "entry_points.txt").write_text(f"[vidmem.encoders]\n{name} = vidmem_{name}:{name.upper()}\n", "utf-8")


def run(site: Path, *args: object, code: str = "from vidmem.cli import main; main()") -> Any:
    """The command line in a process that finds the packages in `site`."""
    paths = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)


@pytest.mark.slow
def test_the_package_of_the_page(installed: Path, tmp_path: Path) -> None:
    site = installed / "site"
    rows = {row["name"]: row for row in json.loads(run(site, "models", "--json").stdout)}
    assert list(rows)[:1] == ["tiny"]
    assert (rows["hues"]["knows"], rows["hues"]["licence"]) == ("four colours by name", "MIT")
    film = fakes.squares(tmp_path / "film.mp4", [("red", 0, 2, 60), ("blue", 1, 3, 100)], 3)
    memory = tmp_path / "memory"
    made = run(site, "index", film, "--encoder", "hues", "--memory", memory)
    assert made.returncode == 0, made.stderr
    asked = run(site, "where", "red", "--json", "--memory", memory)
    assert asked.returncode == 0, asked.stderr
    assert 1.5e9 < int(json.loads(asked.stdout)["sightings"][0]["end_ns"]) < 2.1e9
    assert run(site, "where", "green", "--memory", memory).returncode == 1
    tests = run(site, "-q", "-p", "no:cacheprovider", installed / "vidmem-hues", code="import pytest; pytest.main()")
    assert "1 passed" in tests.stdout


@pytest.mark.slow
def test_broken_packages_are_named_and_break_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site"
    add_broken(site)
    causes = [
        "the encoder 'broken' of the package 'vidmem-broken' cannot be used: it fails to import (ModuleNotFoundError: "
        "No module named 'no_such_library'); update or uninstall the package",
        "the encoder 'other' of the package 'vidmem-other' cannot be used: vidmem_other:OTHER is a int, not an",
        "the encoder 'tiny' of the package 'vidmem-tiny' cannot be used: vidmem has an encoder of that name",
    ]
    listed = run(site, "models", "--json")
    states = {row["name"]: row["state"] for row in json.loads(listed.stdout)}
    assert listed.returncode == 0
    assert (states["broken"], states["other"], states["tiny"]) == ("broken", "broken", "shipped")
    checked = run(site, "doctor")
    assert checked.returncode == 4
    for cause in causes:
        assert cause in listed.stderr
        assert cause in checked.stderr
    missing = run(site, "where", "red", "--encoder", "broken", "--memory", tmp_path / "memory")
    assert missing.returncode != 0
    indexed = run(site, "index", PAGE, "--encoder", "broken", "--memory", tmp_path / "memory")
    assert indexed.returncode == 4
    assert causes[0] in indexed.stderr


def test_a_process_may_register_its_own() -> None:
    with registry.registered(fakes.SPEC):
        assert find("colours:gated") is fakes.SPEC
        assert registry.names()[-1] == "colours"
    with pytest.raises(ModelError, match="no encoder 'colours'"):
        find("colours")


def test_the_names_of_vidmem_are_taken() -> None:
    with pytest.raises(UsageError, match="vidmem has an encoder 'tiny' of its own"):
        registry.register(EncoderSpec(name="tiny", load=fakes.load, load_text=fakes.load))


def test_what_is_loaded_must_be_an_encoder() -> None:
    spec = EncoderSpec(name="wrong", load=lambda options: 5, load_text=lambda options: 5)  # type: ignore[arg-type]
    with registry.registered(spec):
        with pytest.raises(ModelError, match=r"`wrong` is a int, not a vidmem\.encoders\.Encoder"):
            registry.load("wrong")
        with pytest.raises(ModelError, match=r"`wrong` is a int, not a vidmem\.encoders\.TextEncoder"):
            registry.load_text("wrong")
