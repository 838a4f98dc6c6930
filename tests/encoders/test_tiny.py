"""`tiny` as it ships: its files and their checks, the contract of regions and views, and that it sees."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from lab.synthetic.lostfound import make
from needs import needs
from vidmem.encoders import load, load_text, shipped
from vidmem.encoders.base import ViewEncoder
from vidmem.encoders.shipped import shipped_bytes
from vidmem.encoders.tiny.detector import MAX_REGIONS
from vidmem.encoders.tiny.encoder import Tiny
from vidmem.encoders.tiny.regions import LONGEST, MOST_WORKERS
from vidmem.encoders.tiny.text import TinyText
from vidmem.encoders.tiny.views import HINTS, TinyViews
from vidmem.errors import ModelError, UsageError
from vidmem.geometry import box_iou
from vidmem.memory import Memory
from vidmem.query.labels import load_labels
from vidmem.records import RegionTokens, View

SHIPPED = Path(str(files("vidmem.encoders") / "weights"))
MAX_BYTES = 30_000_000
NETWORKS = ("tiny-detector.onnx", "tiny-look.onnx", "tiny-views.onnx")
COCO = load_labels("coco").names


@pytest.fixture(scope="module")
def encoder() -> Tiny:
    found = load("tiny", "cpu")
    assert isinstance(found, Tiny)
    return found


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the shipped files that `tiny` reads instead."""
    folder = tmp_path / "weights"
    shutil.copytree(SHIPPED, folder)
    monkeypatch.setattr(shipped, "files", lambda _: tmp_path)
    shipped.card.cache_clear()
    yield folder
    shipped.card.cache_clear()


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blotches of colour: something to see at every size."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (-(-height // 32), -(-width // 32), 3), np.uint8)
    return small.repeat(32, 0).repeat(32, 1)[:height, :width].copy()


def photograph(name: str) -> NDArray[np.uint8]:
    data = needs("skimage.data")
    return np.ascontiguousarray(getattr(data, name)())


def view_of(image: NDArray[np.uint8], hint: NDArray[np.float32] | None = None) -> View:
    height, width = image.shape[:2]
    said = np.zeros(0, np.float32) if hint is None else hint
    return View(image, (0.0, 0.0, float(width), float(height)), (width, height), 0, said, 0.5, 1.0)


# --- files


def test_weights_ship_within_their_limit() -> None:
    card = json.loads((SHIPPED / "tiny.json").read_text("utf-8"))
    least = {*NETWORKS, "tiny-names.safetensors", "tiny-text.safetensors", "tiny-vocabulary.txt"}
    assert least <= card["sha256"].keys()
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= MAX_BYTES
    for name, sha in card["sha256"].items():
        assert hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest() == sha, name
    there = {path.name for path in SHIPPED.iterdir()} - {"tiny.json", "tiny.md"}
    assert there == card["sha256"].keys()  # nothing unchecked lies there
    assert shipped_bytes() == sum((SHIPPED / name).stat().st_size for name in there)


def test_the_card_is_what_the_weights_are(encoder: Tiny) -> None:
    card, info = shipped.card(), encoder.info
    assert (card["visual_dim"], card["text_dim"]) == (info.visual_dim, info.text_dim)
    assert encoder.views.visual.shape[1] == info.visual_dim
    assert encoder.views.naming.hints.shape[1] == encoder.contrast_vectors.shape[1] == info.text_dim
    assert len(encoder.contrast_vectors) <= card["names"]
    model_card = (SHIPPED / "tiny.md").read_text("utf-8")
    for what in ("COCO", "ImageNet", "Apache-2.0", "licence"):
        assert what.lower() in model_card.lower(), what


def damage_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def accept(folder: Path, name: str) -> None:
    """Let the card say that the file is right as it is."""
    card = json.loads((folder / "tiny.json").read_text())
    card["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "tiny.json").write_text(json.dumps(card))
    shipped.card.cache_clear()


def one_line(error: pytest.ExceptionInfo[ModelError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 300
    assert error.value.exit_code == 4
    return text


def use(name: str) -> object:
    """Whatever first reads the file."""
    if name in shipped.REGIONS:
        return load("tiny", "cpu").encode([noise(64, 64)], 64, 64)
    if name in ("tiny-views.onnx", "tiny-names.safetensors"):
        encoder = load("tiny", "cpu")
        assert isinstance(encoder, Tiny)
        return encoder.views
    return load_text("tiny")


@pytest.mark.parametrize("name", [*NETWORKS, "tiny-names.safetensors", "tiny-text.safetensors", "tiny-vocabulary.txt"])
@pytest.mark.parametrize("harm", [damage_byte, cut_short, empty, Path.unlink])
def test_weights_missing_or_damaged_fail(weights: Path, name: str, harm: Callable[[Path], None]) -> None:
    harm(weights / name)
    with pytest.raises(ModelError) as error:
        use(name)
    text = one_line(error)
    assert text.startswith("the weights of `tiny` are ")
    assert text.endswith("reinstall vidmem")
    if harm is not Path.unlink:
        assert f"damaged ({name} has another sha256)" in text


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("harm", [cut_short, empty, "text", "other"])
def test_networks_that_are_none_fail(weights: Path, name: str, harm: Callable[[Path], None] | str) -> None:
    """Even where the card agrees: no runtime's message of many lines, and no other network's answers."""
    if harm == "text":
        (weights / name).write_text("<html>not found</html>")
    elif harm == "other":
        shutil.copy(weights / NETWORKS[NETWORKS.index(name) - 1], weights / "other")
        (weights / "other").replace(weights / name)
    else:
        harm(weights / name)  # type: ignore[operator]
    accept(weights, name)
    with pytest.raises(ModelError) as error:
        use(name)
    text = one_line(error)
    assert text.endswith("reinstall vidmem")
    assert ("another network" if harm == "other" else "damaged") in text


@pytest.mark.parametrize("text", [None, "", "{", "\x00"])
def test_card_missing_or_damaged_fails(weights: Path, text: str | None) -> None:
    if text is None:
        (weights / "tiny.json").unlink()
    else:
        (weights / "tiny.json").write_text(text)
    with pytest.raises(ModelError, match=r"weights of `tiny` are missing or damaged \(.*reinstall vidmem"):
        load_text("tiny")


def test_other_weights_are_another_model(weights: Path) -> None:
    """Regions and tokens apart: a memory whose regions are of another detector can still be asked."""
    before = TinyText().info
    (weights / "tiny-views.onnx").write_bytes(b"other")
    accept(weights, "tiny-views.onnx")
    views = TinyText().info
    assert views.weights != before.weights
    assert views.regions == before.regions
    (weights / "tiny-detector.onnx").write_bytes(b"other")
    accept(weights, "tiny-detector.onnx")
    assert TinyText().info.regions != before.regions
    assert TinyText().info.weights == views.weights


def test_a_corrupt_network_is_one_line_and_exit_4(tmp_path: Path) -> None:
    """On the command line, with the installed package's file looked up elsewhere."""
    shutil.copytree(SHIPPED, tmp_path / "weights")
    damage_byte(tmp_path / "weights" / "tiny-detector.onnx")
    Image.fromarray(noise(64, 64)).save(tmp_path / "a.png")
    code = f"""
import sys
from pathlib import Path
from vidmem.encoders import shipped
shipped.files = lambda _: Path({str(tmp_path)!r})
from vidmem.cli import main
main()
"""
    command = [sys.executable, "-c", code, "ground", str(tmp_path / "a.png"), "cat"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (4, "")
    assert (
        done.stderr == "vidmem: the weights of `tiny` are damaged (tiny-detector.onnx has another sha256); "
        "reinstall vidmem\n"
    )


# --- what it is asked for


def test_a_backbone_fails() -> None:
    for get in (load, load_text):
        with pytest.raises(ModelError, match="`tiny` has no backbone 'ViT-B-16' to choose; the encoder is called tiny"):
            get("tiny:ViT-B-16")


def test_a_device_that_is_none_fails() -> None:
    with pytest.raises(UsageError, match="`device` banana is not known; there are: cuda, mps, cpu"):
        load("tiny", "banana")


@pytest.mark.parametrize(
    ("device", "provider", "remedy"),
    [
        ("cuda", "CUDAExecutionProvider", r"pip install 'vidmem\[gpu\]', or try cpu"),
        ("mps", "CoreMLExecutionProvider", "try cpu"),
    ],
)
def test_no_provider_as_asked_fails(device: str, provider: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UsageError, match=rf"ONNX Runtime has no {provider}\); {remedy}$") as error:
        load("tiny", device)
    assert error.value.exit_code == 2


def test_the_best_provider_there_is_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from vidmem.encoders.onnx import providers

    there = ["CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider"]
    for count, first in ((3, there[0]), (2, there[2]), (1, there[2])):  # CoreML only when it is asked for
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda n=count: there[-n:])
        assert providers()[0] == first
        assert providers()[-1] == there[2]


def test_text_side_is_quick_and_both_agree(encoder: Tiny) -> None:
    code = """
import sys
from vidmem.encoders import load_text
vector = load_text("tiny").encode_text(["umbrella"])[0]
assert not [m for m in ("torch", "onnxruntime", "av", "PIL") if m in sys.modules], "heavy imports"
print(vector.tobytes().hex())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert bytes.fromhex(done.stdout.strip()) == encoder.encode_text(["umbrella"])[0].tobytes()
    assert load_text("tiny").info == encoder.info


def test_info_says_what_it_is() -> None:
    info = load_text("tiny").info
    assert info.name == "tiny"
    assert not info.open_vocabulary
    assert info.knows
    assert info.regions
    text = load_text("tiny").encode_text(["umbrella", "a red key"])
    assert text.shape == (2, info.text_dim)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, rtol=1e-5)


def test_contrast_leaves_out_what_means_the_same() -> None:
    text = TinyText()
    np.testing.assert_allclose(np.linalg.norm(text.contrast_vectors, axis=1), 1, rtol=2e-3)
    (vector,) = text.encode_text(["umbrella"])
    against = text.contrast(vector)
    assert 0 < len(against) < len(text.contrast_vectors)
    assert (against @ vector).max() < shipped.card()["same_meaning"]


@pytest.mark.parametrize("phrase", ["", "🔑", "ключ"])
def test_an_unreadable_phrase_fails(phrase: str) -> None:
    with pytest.raises(UsageError, match="no English word"):
        load_text("tiny").encode_text([phrase])


# --- regions


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_working_size(width: int, height: int) -> None:
    """As large as the frame, so that views can be cut, up to a limit; the ratio kept."""
    w, h = Tiny.working_size(None, width, height)  # type: ignore[arg-type]
    assert min(w, h) >= 1
    assert max(w, h) == min(max(width, height), LONGEST)
    scale = max(w, h) / max(width, height)
    assert abs(w - width * scale) <= 1
    assert abs(h - height * scale) <= 1


def check(found: RegionTokens, width: int, height: int) -> None:
    """That regions are as base.Encoder and records.RegionTokens promise."""
    for name in ("visual", "text", "masks", "points", "boxes", "area", "confidence"):
        array = getattr(found, name)
        assert array.dtype == np.float32, name
        assert np.isfinite(array).all(), name
    assert len(found) <= MAX_REGIONS
    assert found.text.shape[1] == HINTS == len(COCO)
    np.testing.assert_allclose(np.linalg.norm(found.visual, axis=1), 1, rtol=1e-4)
    for name in ("text", "masks", "area", "confidence"):
        array = getattr(found, name)
        assert (array >= 0).all(), name
        assert (array <= 1).all(), name
    size = np.array([width, height], np.float32)
    assert ((found.points >= 0) & (found.points <= size)).all()
    assert ((found.boxes[:, :2] >= 0) & (found.boxes[:, :2] <= found.boxes[:, 2:])).all()
    assert (found.boxes[:, 2:] <= size + 1e-2).all()


@pytest.mark.parametrize(
    ("width", "height"),
    [(1280, 720), (720, 1280), (640, 640), (641, 333), (97, 53), (1, 1), (1, 300), (300, 1), (2000, 40)],
)
def test_regions_have_the_promised_form(encoder: Tiny, width: int, height: int) -> None:
    w, h = encoder.working_size(width, height)
    (found,) = encoder.encode([noise(w, h)], width, height)
    check(found, width, height)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_frame_is_no_accident(encoder: Tiny, value: int) -> None:
    (found,) = encoder.encode([np.full((180, 320, 3), value, np.uint8)], 1280, 720)
    check(found, 1280, 720)
    assert (found.confidence < 0.3).all()  # nothing that anybody would call sure


def test_boxes_are_in_pixels_of_the_original(encoder: Tiny) -> None:
    image = photograph("chelsea")
    h, w = image.shape[:2]
    (small,) = encoder.encode([image], w, h)
    (large,) = encoder.encode([image], 3 * w, 3 * h)
    np.testing.assert_allclose(large.boxes, 3 * small.boxes, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(large.points, 3 * small.points, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(large.masks, small.masks)


def test_a_batch_gives_what_its_pictures_give(encoder: Tiny) -> None:
    images = [photograph("chelsea")[:240, :320], noise(320, 240), photograph("coffee")[:240, :320]]
    together = encoder.encode(images, 640, 480)
    again = encoder.encode(images, 640, 480)
    for image, batched, repeated in zip(images, together, again, strict=True):
        np.testing.assert_array_equal(batched.visual, repeated.visual)
        (alone,) = encoder.encode([image], 640, 480)
        best = min(3, len(alone), len(batched))  # those below may change places by the last digit
        np.testing.assert_allclose(alone.boxes[:best], batched.boxes[:best], atol=0.5)
        np.testing.assert_allclose(alone.visual[:best], batched.visual[:best], atol=1e-2)


def test_several_batches_may_run_at_a_time_on_a_cpu(encoder: Tiny) -> None:
    with encoder.parallel() as workers:
        assert 1 <= workers <= MOST_WORKERS


@pytest.mark.parametrize(("name", "thing"), [("chelsea", "cat"), ("astronaut", "person")])
def test_what_a_photograph_shows_is_a_region_and_the_hint_names_it(encoder: Tiny, name: str, thing: str) -> None:
    image = photograph(name)
    h, w = image.shape[:2]
    (found,) = encoder.encode([image], w, h)
    best = found.text[:, COCO.index(thing)].argmax()
    assert COCO[found.text[best].argmax()] == thing
    assert found.confidence[best] > 0.4
    assert 0.2 < found.area[best] <= 1


def test_a_thing_is_followed_by_its_visual_token(encoder: Tiny) -> None:
    """The cat, moved and made smaller, is more like itself than like the cup of coffee."""
    cat, cup = photograph("chelsea"), photograph("coffee")
    grey = np.full((480, 640, 3), 128, np.uint8)

    def token(image: NDArray[np.uint8], x: int, y: int, side: int) -> NDArray[np.float32]:
        frame = grey.copy()
        small = Image.fromarray(image).resize((side * 3 // 2, side))
        frame[y : y + side, x : x + side * 3 // 2] = np.asarray(small)
        (found,) = encoder.encode([frame], 640, 480)
        whole = (float(x), float(y), x + side * 1.5, float(y + side))
        return found.visual[box_iou(found.boxes, np.array(whole, np.float32)).argmax()]

    here, there, other = token(cat, 40, 40, 240), token(cat, 230, 160, 220), token(cup, 40, 40, 240)
    assert here @ there > here @ other


# --- views


def test_views(encoder: Tiny) -> None:
    assert isinstance(encoder.views, ViewEncoder)
    assert isinstance(encoder.views, TinyViews)
    assert encoder.views is encoder.views  # loaded once
    assert encoder.views.wants_hint
    side = encoder.views.view_pixels
    hint = np.zeros(HINTS, np.float32)
    hint[COCO.index("cat")] = 0.9
    shapes = [(side, side), (1, 1), (1, side), (side, 1), (33, 97)]
    views = [view_of(noise(w, h, i), hint if i % 2 else None) for i, (w, h) in enumerate(shapes)]
    seen = encoder.views.look(views)
    assert seen.visual.shape == (len(views), encoder.info.visual_dim)
    assert seen.text.shape == (len(views), encoder.info.text_dim)
    for array in (seen.visual, seen.text):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    np.testing.assert_allclose(np.linalg.norm(seen.visual, axis=1), 1, rtol=1e-4)
    assert (np.linalg.norm(seen.text, axis=1) <= 1 + 1e-6).all()
    nothing = encoder.views.look([])
    assert (nothing.visual.shape, nothing.text.shape) == ((0, encoder.info.visual_dim), (0, encoder.info.text_dim))


def test_a_photograph_is_named_and_noise_is_a_guess(encoder: Tiny) -> None:
    seen = encoder.views.look([view_of(photograph("chelsea")), view_of(noise(192, 192))])
    sure, guess = np.linalg.norm(seen.text, axis=1)
    assert sure > guess
    names = encoder.encode_text(["cat", "airplane", "fork", "building"])
    assert (names @ seen.text[0]).argmax() == 0
    assert (names @ seen.text[0])[0] > (names @ seen.text[1]).max()


# --- all of it


@pytest.mark.slow
def test_a_drawn_thing_of_a_small_world_is_found_by_name(tmp_path: Path) -> None:
    """At least one, in the time in which it is there, and more of those that are there than of those that never were.
    How many, benchmarks/lostfound.py tells."""
    world = make(tmp_path / "world", 4980, 12, fps=15)
    there = [q for q in world.queries if q.kind == "name"]
    absent = [q for q in world.queries if q.kind == "absent" and q.text]
    assert there
    assert absent
    right = 0
    with Memory.open(tmp_path / "memory") as memory:
        memory.index(world.video)
        for query in there:
            assert query.start_ns is not None
            assert query.end_ns is not None
            found = memory.where(query.text)
            right += any(s.start_ns <= query.end_ns and query.start_ns <= s.end_ns for s in found)
        wrong = sum(memory.where(query.text).found for query in absent)
    assert right >= 1
    assert right / len(there) > wrong / len(absent)
