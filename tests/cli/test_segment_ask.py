"""`vidmem segment --ask` and `vidmem where --model`: masks that a multimodal language model writes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import sam2_folder
from PIL import Image
from pycocotools import mask as coco
from vlm import tiny_models
from vlm.server import Served, serving

from vidmem.export.textmask import build, encode, wrap
from vidmem.vlm.endpoint import KEY

from .conftest import Run


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.delenv(KEY, raising=False)
    with serving() as server:
        yield server


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    image = np.full((96, 160, 3), 90, np.uint8)
    image[30:60, 80:130] = (200, 30, 30)
    Image.fromarray(image).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model."""
    tiny_models.required()
    return tiny_models.build("qwen2_vl", tmp_path_factory.mktemp("qwen"))


def text_of(name: str = "the cup left of the kettle", side: int = 16) -> str:
    """An answer: the middle quarter of the picture shows it."""
    cells = np.full((side, side), -1)
    cells[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 0
    return wrap(encode(build(cells, [name])))


def endpoint(server: Served) -> tuple[str, ...]:
    return ("--model", server.url, "--model-name", "tiny", "--allow-network")


def test_a_mask_from_an_endpoint(run: Run, photo: Path, tmp_path: Path, served: Served) -> None:
    served.says(f"The mask:\n{text_of()}", tokens=211)
    asked = ("segment", photo, "--ask", "the cup left of the kettle", *endpoint(served))
    result = run(*asked, "--json", "--save", tmp_path / "a.png", "--png", tmp_path / "m.png")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["found"]
    assert told["valid"]
    assert told["problems"] == []
    assert (told["width"], told["height"], told["grid"], told["tokens"]) == (160, 96, [16, 16], 211)
    assert (told["phrase"], told["model"], told["cut"]) == ("the cup left of the kettle", "tiny", False)
    assert told["bbox"] == [40, 24, 80, 48]
    assert told["answer"] == f"The mask:\n{text_of()}"
    mask = coco.decode(told["segmentation"]).astype(bool)
    assert mask[24:72, 40:120].all()
    assert mask.sum() == 48 * 80
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "m.png")) == 1, mask)
    assert Image.open(tmp_path / "a.png").width == 960
    assert "repaired" not in result.stderr
    head, row = run(*asked).stdout.splitlines()
    assert head.split() == ["thing", "share", "box", "tokens", "seconds"]
    assert "25.0%" in row
    assert "40,24,80,48" in row
    ((_, _, body), _) = served.requests
    assert "16 rows and 16 columns" in body["messages"][0]["content"][1]["text"]  # described by default
    assert body["max_tokens"] == 64 + 6 * 256


def test_grids_and_questions(run: Run, photo: Path, served: Served) -> None:
    served.says(text_of("cup", 24), tokens=None)
    result = run(
        "segment", photo, "--ask", "cup", *endpoint(served), "--grid", 24, "--bare", "--max-tokens", 9, "--json"
    )
    told = json.loads(result.stdout)
    assert (told["grid"], told["tokens"], told["valid"]) == ([24, 24], None, True)
    ((_, _, body),) = served.requests
    assert body["messages"][0]["content"][1]["text"] == told["question"]
    assert told["question"] == "Show me with a mask: cup. The grid has 24 rows of 24 cells."
    assert body["max_tokens"] == 9


def test_what_is_repaired_is_said_and_found(run: Run, photo: Path, served: Served) -> None:
    whole = text_of("cup")
    served.says(whole[: len(whole) * 2 // 3], finish="length")
    result = run("segment", photo, "--ask", "cup", *endpoint(served), "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["found"]
    assert told["cut"]
    assert not told["valid"]
    assert "the answer reached the limit of tokens and was cut" in told["problems"]
    said = result.stderr.splitlines()
    assert [f"the answer was repaired: {problem}" for problem in told["problems"]] == said
    assert run("segment", photo, "--ask", "cup", *endpoint(served), "--quiet").stderr.splitlines() == said


@pytest.mark.parametrize("name", ["a|b", "2*3 *4", "bolt #7", "<seg>"])
def test_labels_with_signs_of_the_form(run: Run, photo: Path, served: Served, name: str) -> None:
    served.says(text_of(name))
    told = json.loads(run("segment", photo, "--ask", name, *endpoint(served), "--json").stdout)
    assert told["valid"]
    assert told["bbox"] == [40, 24, 80, 48]


def test_not_there(run: Run, photo: Path, tmp_path: Path, served: Served) -> None:
    served.says("There is no cup here:\n" + wrap("\n ".join(["others *16"] * 16) + "\n"))
    result = run("segment", photo, "--ask", "cup", *endpoint(served), "--json", "--save", tmp_path / "a.png")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert not told["found"]
    assert told["valid"]
    assert told["bbox"] == [0, 0, 0, 0]
    assert "the model answers that this is not there: cup" in result.stderr
    assert not (tmp_path / "a.png").exists()


def test_a_mask_of_another_thing_is_no_answer(run: Run, photo: Path, served: Served) -> None:
    served.says(text_of("dog"))
    result = run("segment", photo, "--ask", "cup", *endpoint(served), "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["instead"] == ["dog"]
    assert "the model's answer shows only other things ('dog'), so it says nothing about 'cup'" in result.stderr
    assert "not there" not in result.stderr


def test_the_key_is_not_printed(run: Run, photo: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-hidden-77")
    served.says("I got sk-hidden-77")
    result = run("segment", photo, "--ask", "cup", *endpoint(served), "--json")
    assert "***" in result.stdout
    assert "sk-hidden-77" not in result.stdout + result.stderr


def test_an_answer_without_a_mask_is_no_answer(run: Run, photo: Path, served: Served) -> None:
    served.says("I cannot draw masks, sorry.")
    result = run("segment", photo, "--ask", "cup", *endpoint(served), "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["answer"] == "I cannot draw masks, sorry."
    assert "there is no mask in the model's answer" in result.stderr
    assert "try --describe" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ask", "cup"), "--ask asks the model of --model; give both"),
        (("--model", "m"), "give one of them"),
        (("--labels", "cup", "--model", "m"), "--ask asks the model of --model; give both"),
        (("--labels", "cup", "--ask", "cup"), "give one of them"),
        ((), "give one of them"),
        (("--labels", "cup", "--grid", "24"), "--grid is about a model that writes masks; give --model, too"),
        (("--ask", "cup", "--model", "m", "--closed"), "--closed is for --labels"),
        (("--ask", "cup", "--model", "m", "--encoder", "tiny"), "--encoder is for --labels"),
        (("--ask", "cup", "--model", "m", "--grid", "17"), "--grid is 16, 24 or 32; got 17"),
        (("--ask", "cup", "--model", "m", "--max-tokens", "0"), "--max-tokens is 1 to 100000"),
        (("--ask", "cup", "--model", "http://localhost/v1", "--timeout", "nan"), "--timeout is more than 0"),
        (("--ask", "cup", "--model", "http://localhost/v1"), "which leaves this machine; give --allow-network if it"),
        (("--ask", "cup", "--model", "http://localhost/v1", "--allow-network"), "give --model-name"),
        (("--ask", "cup", "--model", "m", "--model-name", "x"), "--model-name and --timeout belong to an endpoint"),
        (("--labels", "cup", "--free"), "--free is about a model that writes masks; give --model, too"),
        (("--labels", "cup", "--bare"), "--bare is about a model"),
        (("--labels", "cup", "--describe"), "--describe is about a model"),
        (("--labels", "cup", "--allow-network"), "--allow-network is about a model"),
        (("--ask", "cup", "--model", "m", "--allow-network"), "--allow-network belongs to an endpoint"),
        (("--ask", "cup", "--model", "http://localhost/v1", "--device", "cpu"), "--device is for a model in a folder"),
        (("--ask", "cup", "--model", "http://localhost/v1", "--model-name", ""), "--model-name is empty"),
        (("--ask", "cup", "--model", "ftp://localhost/v1"), "a model is a folder, or an endpoint http://HOST/v1"),
        (("--ask", "cup", "--model", "m", "--refine", "sam3"), "--refine is sam2 or sam2:SIZE"),
    ],
)
def test_options_that_do_not_fit(run: Run, photo: Path, options: tuple[str, ...], said: str) -> None:
    result = run("segment", photo, *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_constraints_are_for_folders(run: Run, photo: Path, served: Served) -> None:
    result = run("segment", photo, "--ask", "cup", *endpoint(served), "--constrained")
    assert result.exit_code == 2
    assert "an endpoint cannot be constrained" in result.stderr
    result = run("segment", photo, "--ask", " ", *endpoint(served))
    assert "--ask takes a phrase" in result.stderr
    assert not served.requests


def test_errors_of_a_folder_and_an_endpoint(run: Run, photo: Path, tmp_path: Path, served: Served) -> None:
    result = run("segment", photo, "--ask", "cup", "--model", tmp_path / "none")
    assert result.exit_code == 4
    assert "not a folder of a vision-language model" in result.stderr
    served.status = 500
    result = run("segment", photo, "--ask", "cup", *endpoint(served))
    assert result.exit_code == 4
    assert "gives no answer (500)" in result.stderr


def test_a_model_in_a_folder(run: Run, photo: Path, folder: Path) -> None:
    asked = ("segment", photo, "--ask", "the cup", "--model", folder, "--device", "cpu")
    told = json.loads(run(*asked, "--json").stdout)
    assert told["constrained"]
    assert told["valid"]
    assert told["tokens"] > 16
    assert told["question"] == "Show me with a mask: the cup."
    free = run(*asked, "--json", "--free", "--max-tokens", 30)
    assert not json.loads(free.stdout)["valid"]
    assert json.loads(free.stdout)["tokens"] == 30


def test_a_mask_is_refined_by_sam2(run: Run, photo: Path, tmp_path: Path, served: Served) -> None:
    sam2_folder.required()
    sam2 = tmp_path / "sam2"
    sam2_folder.write(sam2)
    served.says(text_of("cup"))
    asked = ("segment", photo, "--ask", "cup", *endpoint(served), "--json")
    plain = json.loads(run(*asked).stdout)
    told = json.loads(run(*asked, "--refine", f"sam2:local-dir:{sam2}", "--device", "cpu").stdout)
    assert told["refined"]
    assert not plain["refined"]
    assert told["segmentation"] != plain["segmentation"]
    assert told["segmentation"]["size"] == [96, 160]


def test_where_asks_on_its_evidence(run: Run, indexed: Path, tmp_path: Path, served: Served) -> None:
    served.says(text_of("red"))
    asked = ("where", "red", "-m", indexed)
    plain = run(*asked, "--json", "--save", tmp_path / "plain.png")
    result = run(*asked, *endpoint(served), "--json", "--save", tmp_path / "mask.png")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    mask = told.pop("mask")
    assert told == json.loads(plain.stdout)
    assert mask["found"]
    assert mask["frame_s"] == told["sightings"][0]["frame_s"]
    assert mask["source"] == told["sightings"][0]["source"]
    assert mask["bbox"] == [40, 24, 80, 48]  # the frame is 160 x 96
    one, other = (np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("plain", "mask"))
    assert one.shape == other.shape
    changed = np.abs(one - other).sum(axis=2) > 30
    assert 0.02 < changed.mean() < 0.5
    ((_, _, body),) = served.requests
    assert "Show me with a mask: red." in body["messages"][0]["content"][1]["text"]


def test_where_says_when_the_answer_is_none(run: Run, indexed: Path, tmp_path: Path, served: Served) -> None:
    served.says("No idea.")
    result = run("where", "red", "-m", indexed, *endpoint(served), "--save", tmp_path / "a.png")
    assert result.exit_code == 0
    assert "the model's answer: there is no mask in the answer" in result.stderr
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize("options", [(), ("--all", "--save")])
def test_where_says_what_the_mask_covers(
    run: Run, indexed: Path, tmp_path: Path, served: Served, options: tuple[str, ...]
) -> None:
    asked = ("where", "red", "-m", indexed, *endpoint(served), "--timeout", 60, *options)
    asked = (*asked, tmp_path / "a.png") if options else asked
    served.says(text_of("red"))
    assert "the model's mask covers 25.0% of the picture: red" in run(*asked).stderr
    served.says(wrap("\n ".join(["others *16"] * 16) + "\n"))
    assert "the model answers that this is not there: red" in run(*asked).stderr
    served.says(text_of("dog"))
    assert "the model's answer shows only other things: 'dog'" in run(*asked).stderr


def test_where_does_not_ask_without_a_sighting_or_a_text(run: Run, indexed: Path, photo: Path, served: Served) -> None:
    assert run("where", "yellow", "-m", indexed, *endpoint(served)).exit_code == 1
    result = run("where", "--image", photo, "-m", indexed, *endpoint(served))
    assert result.exit_code == 2
    assert "--model is asked for what the text says" in result.stderr
    assert not served.requests


def test_where_without_a_model_loads_nothing_of_it(indexed: Path) -> None:
    code = (
        "import sys; from vidmem.cli import where; "
        "print([name for name in sys.modules if name.startswith('vidmem.vlm') or name in ('torch', 'http.client')])"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
