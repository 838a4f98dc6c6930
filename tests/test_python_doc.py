"""The blocks of docs/python.md run one after the other, with colours for the things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from encoders import fake
from encoders.fake import save, video, walk

DOC = Path(__file__).parents[1] / "docs" / "python.md"
AS = {"umbrella": "blue", '"keys"': '"red"', '"table"': '"red"'}


def test_the_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake.register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    video(tmp_path / "walk.mp4", walk())
    save(tmp_path / "thing.png", {"blue": (64, 32)})
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)
    code = "\n".join(blocks)
    for word, colour in AS.items():
        code = code.replace(word, colour)
    exec(compile(code, str(DOC), "exec"), {})
    told = capsys.readouterr().out
    assert f"{tmp_path / 'walk.mp4'} 9.6 11.8 (" in told
    assert "<Answer 'blue': 0:09.6 to 0:11.8 in walk.mp4; 2 of 2 sightings>" in told
    assert (tmp_path / "blue.png").stat().st_size > 1000
    assert len(blocks) == 4
