"""What vidmem does where only its core is installed: no PyTorch, nothing that stands on it."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from needs import needs

WITHOUT = """
import importlib.machinery, sys
from importlib.machinery import PathFinder
GONE = {"torch", "torchvision", "transformers", "tokenizers", "open_clip", "timm"}
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in GONE else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""
"""To an import these look as if they were not installed."""


def python(code: str, *args: object, **more: str) -> Any:
    command = [sys.executable, "-c", WITHOUT + code, *map(str, args)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def vidmem(*args: object, **more: str) -> Any:
    return python("from vidmem.cli import main\nmain()", *args, **more)


def photograph(name: str) -> Image.Image:
    data = needs("skimage.data")
    return Image.fromarray(getattr(data, name)())


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a cat, then two of a cup of coffee: photographs that scikit-image comes with."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"crf": "18", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 400, 300, "yuv420p"
        for number in range(20):
            picture = photograph("chelsea" if number < 10 else "coffee").resize((400, 300))
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def memory(film: Path) -> Path:
    done = vidmem("index", film, "--memory", film.parent / "memory")
    assert done.returncode == 0, done.stderr
    return film.parent / "memory"


def test_the_blocker_blocks() -> None:
    for name in ("torch", "transformers", "open_clip"):
        assert f"No module named '{name}'" in python(f"import {name}").stderr


def test_a_cat_is_found_by_name(memory: Path) -> None:
    done = vidmem("where", "cat", "--memory", memory, "--save", memory.parent / "cat.png", "--nl")
    assert done.returncode == 0, done.stderr
    assert (memory.parent / "cat.png").exists()
    assert vidmem("where", "dinosaur", "--memory", memory).returncode == 1


def test_a_cup_is_found_by_a_picture_of_it(memory: Path) -> None:
    photograph("coffee").save(memory.parent / "coffee.png")
    done = vidmem("where", "--image", memory.parent / "coffee.png", "--memory", memory, "--json")
    assert done.returncode == 0, done.stderr
    assert '"found": true' in done.stdout


def test_a_video_is_parsed(memory: Path) -> None:
    done = vidmem("parse", "film.mp4", "--labels", "coco", "--memory", memory, "--png", memory.parent / "labels")
    assert done.returncode == 0, done.stderr
    assert "cat" in done.stdout


def test_a_photograph_is_grounded_and_segmented(tmp_path: Path) -> None:
    photograph("chelsea").save(tmp_path / "chelsea.png")
    done = vidmem("ground", tmp_path / "chelsea.png", "cat", "--mask", tmp_path / "mask.png")
    assert done.returncode == 0, done.stderr
    done = vidmem("segment", tmp_path / "chelsea.png", "--labels", "cat,car", "--closed", "--json")
    assert done.returncode == 0, done.stderr
    assert '"label": "cat"' in done.stdout


def test_the_doctor_finds_all_well(memory: Path) -> None:
    done = vidmem("doctor", "--memory", memory)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout
    assert "CPUExecutionProvider" in done.stdout
    assert "torch" not in done.stdout


@pytest.mark.parametrize("args", [("models",), ("--help",), ("names", "--help")])
def test_help_and_lists_work(args: tuple[str, ...], tmp_path: Path) -> None:
    done = vidmem(*args, VIDMEM_WEIGHTS=str(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_demo_runs(tmp_path: Path) -> None:
    done = vidmem("demo", tmp_path / "demo")
    assert done.returncode in (0, 1), done.stderr  # how well it sees is not asked here
    assert len(done.stdout.splitlines()) >= 4


@pytest.mark.parametrize(
    ("spec", "extra"),
    [
        ("clip", "clip"),
        ("clip:MobileCLIP2-S0/dfndr2b", "clip"),
        ("gem", "gem"),
        ("densevlm", "clip"),
        ("textregion", "clip"),
        ("tren", "tren"),
        ("patches:tren", "tren"),
    ],
)
def test_encoders_that_need_it_name_their_extra(spec: str, extra: str, film: Path, tmp_path: Path) -> None:
    done = vidmem("index", film, "--encoder", spec, "--memory", tmp_path / "m", VIDMEM_WEIGHTS=str(tmp_path))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"`{spec.partition(':')[0]}` needs torch" in done.stderr
    assert f"pip install 'vidmem[{extra}]'" in done.stderr
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("call", ["load({spec!r}, 'cpu')", "load_text({spec!r})"])
@pytest.mark.parametrize("spec", ["tren", "patches:tren"])
def test_also_when_it_is_loaded(call: str, spec: str, tmp_path: Path) -> None:
    (tmp_path / "bpe_simple_vocab_16e6.txt.gz").touch()
    for name in ("tren_region_encoder.pth", "dinov3_vitl16_pretrain_x.pth", "x_dinotxt.pth"):
        (tmp_path / name).touch()
    code = f"""
from vidmem.encoders import load, load_text
from vidmem.errors import ModelError
try:
    {call.format(spec=spec)}
except ModelError as error:
    print(error)
"""
    done = python(code, VIDMEM_WEIGHTS=str(tmp_path))
    assert "pip install 'vidmem[tren]'" in done.stdout, done.stderr


def test_masks_of_sam2_name_their_extra(film: Path, memory: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    spec = f"sam2:local-dir:{tmp_path}"
    done = vidmem(
        "export", "--source", film, "--memory", memory, "--labels", "coco", "--refine", spec, "--out", tmp_path / "out"
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1].endswith("pip install 'vidmem[sam2]'")
    code = f"from vidmem.encoders.masks.loading import mask_source\nmask_source({spec!r}, 'cpu')"
    assert "SAM2 needs torch" in python(code).stderr


def test_training_names_its_extra(tmp_path: Path) -> None:
    done = python(
        "import sys; from lab.train.__main__ import main\nsys.exit(main(sys.argv[1:]))",
        "tren",
        "--data",
        "lostfound:0:1",
        "--out",
        tmp_path / "out",
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines() == [
        "lab.train: training needs torch, which cannot be imported; pip install -e '.[train]' in the clone"
    ]
