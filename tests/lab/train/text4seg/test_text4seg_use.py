"""From training data to `vidmem segment --ask`: what is taught is what is answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import talking
from typer.testing import CliRunner

from lab.train.__main__ import main
from vidmem.cli.app import app
from vidmem.export.textmask import build, encode, wrap
from vidmem.vlm.ask import question


@pytest.mark.slow
def test_what_is_taught_is_answered(tiny: Callable[..., Path], tmp_path: Path) -> None:
    """Two pictures and one question: an adapter and a merged model give each picture its own mask."""
    masks, records = [], []
    for n in range(2):
        cells = np.full((16, 16), -1)
        cells[:8, 3 + 6 * n :] = 0
        masks.append(build(cells, ["cup"]))
        talking.picture(tmp_path / f"{n}.png", n + 5, (50, 40))
        text = f"Here is the mask:\n{wrap(encode(masks[n]))}"
        records.append(talking.record(n, query=question("cup", (16, 16)), response=text))
    talking.write(tmp_path / "data.jsonl", records)
    options = {
        "--data": tmp_path / "data.jsonl",
        "--model": tiny("qwen2_vl"),
        "--out": tmp_path / "out",
        "--steps": 80,
        "--batch": 2,
        "--rank": 16,
        "--alpha": 32,
        "--dropout": 0,
        "--lr": 5e-3,
        "--precision": "fp32",
        "--max-length": 512,
        "--log-every": 20,
        "--checkpoint-every": 80,
        "--workers": 0,
        "--device": "cpu",
    }
    given = [str(word) for pair in options.items() for word in pair]
    assert main(["text4seg", *given, "--no-tensorboard", "--merge"]) == 0
    for folder in ("adapter", "merged"):
        for n in range(2):
            model = str(tmp_path / "out" / folder)
            picture = str(tmp_path / f"{n}.png")
            result = CliRunner().invoke(app, ["segment", picture, "--ask", "cup", "--model", model, "--json"])
            assert result.exit_code == 0, result.output
            found = json.loads(result.stdout)
            assert found["answer"] == records[n]["response"]
            assert (found["valid"], found["problems"]) == (True, [])
            wanted = masks[n].pixels(40, 50) == 0
            assert found["share"] == pytest.approx(wanted.mean(), abs=1e-3)
            rows, columns = np.nonzero(wanted)
            assert found["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
