"""The example in docs/robotics.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOC = Path(__file__).parents[2] / "docs" / "robotics.md"


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(DOC), "exec"), {})
    told = capsys.readouterr().out
    assert re.search(r": /cam/front, message \d+, 17\d{17} ns, x=\d+\.\d map", told)
    assert re.search(r"[1-9]\d* boxes in [1-9]\d* frames", told)
    assert (tmp_path / "robot" / "out.mcap").stat().st_size > (tmp_path / "robot" / "run.mcap").stat().st_size / 2
