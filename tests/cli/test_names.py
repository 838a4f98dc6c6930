"""`vidmem names`, and words that an encoder does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import COLOURS
from PIL import Image

from vidmem.cli.commands import NAMES, LazyCommands, build
from vidmem.cli.messages import AMBIGUOUS, say, set_option_names
from vidmem.encoders import load_text, registry
from vidmem.memory import Memory

from .conftest import Run


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An empty memory of `tiny`."""
    with Memory.open(tmp_path / "tiny") as m:
        m.store.set_model(m.model_record(m.settings().as_dict()))
        m.cache()
    return tmp_path / "tiny"


def names_in(text: str) -> list[str]:
    return [line.split("  ")[0] for line in text.splitlines()[1:]]


def test_names_with_a_part(run: Run) -> None:
    result = run("names", "MUG")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split("  ")[0] == "name"
    assert names_in(result.stdout) == ["beer mug", "coffee mug", "mug"]
    document = json.loads(run("names", "mug", "--json").stdout)
    assert (document["encoder"], document["open_vocabulary"]) == ("tiny", False)
    assert document["names"][-1] == {"name": "mug", "another_name_for": "cup"}
    assert len(run("names", "--nl").stdout.splitlines()) > 4000
    assert run("names", "mug", "--csv").stdout.splitlines()[1] == "beer mug,"


def test_no_such_name(run: Run) -> None:
    result = run("names", "kettel")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no name of `tiny` contains 'kettel'; similar: kettle" in result.stderr
    assert run("names", "q" * 500).exit_code == 1


def test_names_of_the_memorys_encoder(run: Run, indexed: Path, tiny: Path) -> None:
    assert names_in(run("names", "-m", indexed).stdout) == sorted(COLOURS)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(type(load_text("colours")), "names")
        result = run("names", "-m", indexed)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "`colours` has no list of names; it knows eight colours by name" in result.stderr
    assert names_in(run("names", "puffin", "-m", tiny).stdout) == ["puffin"]
    nowhere = run("names", "puffin", "-m", tiny / "no")
    assert names_in(nowhere.stdout) == ["puffin"]
    assert "no memory here" in nowhere.stderr


def test_any_phrase_is_fair_though_the_weights_are_not_here(run: Run) -> None:
    result = run("names", "cup", "--encoder", "clip", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"encoder": "clip", "open_vocabulary": True, "names": []}
    assert result.stderr == "`clip` takes any phrase\n"
    assert run("names", "--encoder", "nope").exit_code == 4


@pytest.mark.parametrize(
    "arguments",
    [("where", "dgo"), ("where", "cup", "--near", "dgo"), ("timeline", "my", "dgo"), ("forget", "--object", "dgo")],
)
def test_an_unknown_word_is_not_an_absent_thing(run: Run, tiny: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "-m", tiny)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "vidmem: I don't know the word 'dgo'; near: dog, dingo, dango\n"


def test_what_is_read_is_told(run: Run, tiny: Path) -> None:
    for command in ("where", "timeline"):
        result = run(command, "not a dog", "--near", "dog cat", "-m", tiny)
        assert result.exit_code == 1
        told = result.stderr.splitlines()
        assert "'not' is not understood; read as 'dog'" in told
        assert "'dog cat': `tiny` has no name 'dog cat'; read as one thing between 'dog' and 'cat'" in told
    query = json.loads(run("where", "my red cup", "-m", tiny, "--json").stdout)["query"]
    assert (query["text"], query["read_as"]) == ("my red cup", "cup")
    assert "read_as" not in json.loads(run("where", "my cup", "-m", tiny, "--json").stdout)["query"]
    with Memory.open(tiny, read_only=True) as m:
        assert m.where("my red cup").notes == ("'red' is not understood; read as 'cup'",)
        assert m.where("my cup").notes == ()


def test_what_is_forgotten_is_read_as_it_is_said(run: Run, tiny: Path) -> None:
    result = run("forget", "--object", "red cup", "--dry-run", "-m", tiny)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'red' is not understood; read as 'cup'; to forget that, name it so: 'cup'" in result.stderr
    assert run("forget", "--object", "cup", "--dry-run", "-m", tiny).exit_code == 1


def test_a_list_is_answered_but_for_what_is_unknown(run: Run, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("cup\ndgo\nmy red kettle\n")
    result = run("watch-list", path, "-m", tiny)
    assert result.exit_code == 3
    assert "unknown word 'dgo', near: dog, dingo, dango" in result.stdout
    assert "0 of 3 found, 1 not known" in result.stderr
    assert "'my red kettle': 'red' is not understood; read as 'kettle'" in result.stderr
    rows = json.loads(run("watch-list", path, "-m", tiny, "--json").stdout)
    assert [row["unknown"] for row in rows] == [None, "dgo", None]
    path.write_text("dgo\nbotle\n")
    assert run("watch-list", path, "-m", tiny).exit_code == 2
    path.write_text("cup\n")
    assert run("watch-list", path, "-m", tiny).exit_code == 1


def test_in_one_picture(run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    for arguments in (("ground", tmp_path / "a.png", "dgo"), ("segment", tmp_path / "a.png", "--labels", "cup,dgo")):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "I don't know the word 'dgo'; near: dog" in result.stderr
    told = run("segment", tmp_path / "a.png", "--labels", "vspw").stderr.splitlines()[0]
    assert "of 124 names as they stand, and reads them differently or guesses: 'wall'" in told


def test_messages_name_the_options_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        set_option_names(LazyCommands(NAMES, build)["where"].params)
        say("`min_probability`, `sources`, `thing` or `tiny`; `vidmem ls`")
        assert capsys.readouterr().err == "--min-probability, --source, `thing` or `tiny`; `vidmem ls`\n"
        set_option_names(LazyCommands(NAMES, build)["forget"].params)
        say("`min_probability`, `sources`, `thing` or `tiny`; `vidmem ls`")
        assert capsys.readouterr().err == "`min_probability`, --source, --object or `tiny`; `vidmem ls`\n"
    finally:
        set_option_names([])


def test_no_encoder_is_mistaken_for_an_option() -> None:
    commands = LazyCommands(NAMES, build)
    flags = {option for name in commands for param in commands[name].params for option in param.opts}
    assert {name for name in registry.names() if f"--{name}" in flags} <= set(AMBIGUOUS)
