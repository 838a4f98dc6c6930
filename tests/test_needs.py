"""needs.py, and that nothing skips around it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import needs as needed
from needs import needs

HERE = Path(__file__).parent


def test_what_is_there_is_imported() -> None:
    assert needs("numpy.linalg").norm([3, 4]) == 5


def test_what_is_not_there_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needed.EXTRAS, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no_such_library"):
        needs("no_such_library")


def test_what_is_not_there_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(needed.EXTRAS, "1")
    with pytest.raises(pytest.fail.Exception, match=r"no_such_library.*VIDMEM_REQUIRE_EXTRAS is set"):
        needs("no_such_library")


@pytest.mark.parametrize(("required", "code", "said"), [("", 0, "2 skipped"), ("1", 1, "VIDMEM_REQUIRE_")])
def test_whole_files_and_gpu_tests_too(tmp_path: Path, required: str, code: int, said: str) -> None:
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text())
    (tmp_path / "test_gpu.py").write_text("import pytest\n@pytest.mark.gpu\ndef test_it(): pass\n")
    (tmp_path / "test_file.py").write_text("from needs import needs\nneeds('no_such')\ndef test_it(): pass\n")
    variables = {needed.EXTRAS: required, needed.GPU: required, "PYTHONPATH": str(HERE), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    for one in ([], ["-k", "gpu"]) if required else ([],):
        done = subprocess.run(
            [*command, *one, "-p", "no:cacheprovider"], capture_output=True, text=True, env={**os.environ, **variables}
        )
        assert bool(done.returncode) == bool(code), done.stdout
        assert said in done.stdout


def test_no_test_skips_for_a_missing_library_by_itself() -> None:
    """`importorskip` and a `skipif` on `find_spec` would pass in CI without running."""
    forbidden = re.compile(r"importorskip|skipif\(.*find_spec")
    for path in HERE.rglob("*.py"):
        if path != Path(__file__) and path.name != "needs.py":
            assert not forbidden.search(path.read_text("utf-8")), path
