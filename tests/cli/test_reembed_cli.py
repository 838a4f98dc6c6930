"""`vidmem reembed`, `--keep-views`, and memories of another encoder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from encoders import fake

from vidmem.encoders import registry

from .conftest import Run


@pytest.fixture(autouse=True)
def looking() -> Iterator[None]:
    with registry.registered(fake.SPEC):
        yield


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return fake.video(tmp_path / "walk.mp4", fake.walk())


def test_a_memory_gets_the_other_encoder(run: Run, clip: Path) -> None:
    assert run("index", clip, "--encoder", "fake:look").exit_code == 0
    assert run("where", "green", "--threshold", 0.2).exit_code == 0
    done = run("reembed", "--encoder", "fake:look2")
    assert done.exit_code == 0
    assert "tracks have tokens of `fake:look2`" in done.stderr
    told = json.loads(run("info", "--json").stdout)
    assert told["encoder"] == "fake:look2"
    assert told["weights"] == "look-2"
    assert run("where", "green", "--threshold", 0.2).exit_code == 0
    refused = run("where", "green", "--encoder", "fake:look")
    assert refused.exit_code == 4
    assert "`vidmem reembed --encoder fake:look`" in refused.stderr


def test_a_source_that_is_gone_gives_3(run: Run, clip: Path, tmp_path: Path) -> None:
    run("index", clip, "--encoder", "fake:look")
    clip.rename(tmp_path / "away.mp4")
    left = run("reembed", "--encoder", "fake:look2", "--json")
    assert left.exit_code == 3
    (row,) = json.loads(left.stdout)
    assert row["source"] == str(clip)
    assert row["tracks"] > 0
    assert "put the sources back and run `vidmem reembed` again" in left.stderr
    missed = run("where", "green")
    assert missed.exit_code == 1
    assert f"left out, since they wait for `vidmem reembed`: {clip.name}" in missed.stderr
    assert "to reembed" in run("ls").stdout
    (tmp_path / "away.mp4").rename(clip)
    told = run("index", clip).stderr
    assert "1 source cannot be searched yet; put the files back and run `vidmem reembed`" in told
    assert run("reembed").exit_code == 0
    assert "cannot be found yet" not in run("index", clip).stderr
    assert "no views were stored for these" in run("index", clip, "--keep-views").stderr
    assert run("where", "green", "--threshold", 0.2).exit_code == 0


def test_weights_that_were_renewed_name_the_remedy(run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", clip, "--encoder", "fake:look")

    def renewed(backbone: str = "", device: str | None = None) -> fake.LookingEncoder:
        made = fake.LookingEncoder("look-9", 16)
        made.info = fake.replace(made.info, name="fake:look")
        return made

    monkeypatch.setattr(fake, "load", renewed)
    monkeypatch.setattr(fake, "load_text", renewed)
    refused = run("where", "green")
    assert refused.exit_code == 4
    assert "`vidmem reembed` gives it the tokens of these weights of fake:look, from its sources" in refused.stderr
    assert run("reembed").exit_code == 0
    assert run("where", "green", "--threshold", 0.2).exit_code == 0


def test_kept_views_survive_the_source(run: Run, clip: Path) -> None:
    run("index", clip, "--encoder", "fake:look", "--keep-views")
    clip.unlink()
    assert run("reembed", "--encoder", "fake:look2").exit_code == 0
    assert run("where", "green", "--threshold", 0.2).exit_code == 0


def test_views_are_kept_only_where_there_are_some(run: Run, clip: Path) -> None:
    refused = run("index", clip, "--encoder", "colours", "--keep-views")
    assert refused.exit_code == 2
    assert "`colours` does not look at views, so there are none to keep; leave --keep-views out" in refused.stderr


@pytest.mark.parametrize(
    ("encoder", "code", "message"),
    [
        ("colours", 2, "`colours` looks at whole frames, not at views"),
        ("fake:broken", 4, "the weights are missing"),
        ("clop", 4, "no encoder 'clop'; did you mean 'clip'?"),
    ],
)
def test_encoders_that_cannot(run: Run, clip: Path, encoder: str, code: int, message: str) -> None:
    run("index", clip, "--encoder", "fake:look")
    refused = run("reembed", "--encoder", encoder)
    assert refused.exit_code == code
    assert message in refused.stderr
    assert run("where", "green", "--threshold", 0.2).exit_code == 0  # nothing was lost


def test_without_a_memory(run: Run, tmp_path: Path) -> None:
    missing = run("reembed", "--memory", tmp_path / "none")
    assert missing.exit_code == 4
    assert "there is no memory here" in missing.stderr
    assert not (tmp_path / "none").exists()
