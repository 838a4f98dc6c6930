"""torchvision with and without its operators; each state in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from needs import needs
from vidmem.encoders.torchvision_compat import ready

BROKEN = """
import torch
from . import extension
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold): return dets
"""
EXTENSION = "def _has_ops(): return False\n"
BOXES = "torch.tensor([[0, 0, 9, 9.], [1, 1, 9, 9], [20, 20, 30, 30]]), torch.tensor([.5, .9, .1])"
NMS = f"torch.ops.torchvision.nms({BOXES}, .5)"


def run(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    first = "" if folder is None else f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    code = first + "import torch\nfrom vidmem.encoders.torchvision_compat import ready\n" + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)


def package(folder: Path, init: str) -> Path:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(init)
    (folder / "torchvision" / "extension.py").write_text(EXTENSION)
    return folder


def test_missing_operators_are_put_in(tmp_path: Path) -> None:
    done = run(
        "assert ready()\nimport torchvision\nassert torchvision.extension._has_ops()\nassert not ready()\n"
        f"print({NMS}.tolist())",
        package(tmp_path, BROKEN),
    )
    assert done.stdout == "[1, 2]\n", done.stderr


def test_a_pair_that_matches_is_left_alone(tmp_path: Path) -> None:
    whole = package(tmp_path, "from . import extension")
    done = run(
        "assert not ready()\nimport torchvision\nassert not torchvision.extension._has_ops()\n"
        "print(hasattr(torch.ops.torchvision, 'nms'))",
        whole,
    )
    assert done.stdout == "False\n", done.stderr


def test_another_fault_is_not_hidden(tmp_path: Path) -> None:
    done = run("ready()", package(tmp_path, "raise RuntimeError('operator torchvision::nms is odd')"))
    assert "RuntimeError: operator torchvision::nms is odd" in done.stderr
    assert done.returncode == 1


def test_the_one_that_is_installed_can_be_imported() -> None:
    ready()
    needs("torchvision")
    done = run(f"ready(); import torchvision, torchvision.ops; print({NMS}.tolist())")
    assert done.stdout == "[1, 2]\n", done.stderr


def test_without_torchvision_nothing_happens() -> None:
    done = run("import importlib.util as u; u.find_spec = lambda name: None; print(ready())")
    assert done.stdout == "False\n", done.stderr
