"""`tiny` as it ships: files and their checks, sizes, what comes out. Nothing here asks how well it sees."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from vidmem.encoders import load, load_text, tiny
from vidmem.encoders.mobile_net import DIM
from vidmem.encoders.tiny import Tiny, TinyText, distinct
from vidmem.encoders.tiny_net import INSIDE, MASK_DIM, MaskHead, TinyNet, choose_points, find
from vidmem.errors import ModelError, UsageError

SHIPPED = Path(str(files("vidmem.encoders") / "weights"))
MAX_BYTES = 12_000_000


@pytest.fixture(scope="module")
def encoder() -> Tiny:
    return Tiny("cpu")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the shipped files that `tiny` reads instead."""
    folder = tmp_path / "weights"
    shutil.copytree(SHIPPED, folder)
    monkeypatch.setattr(tiny, "_folder", lambda: folder)
    tiny.card.cache_clear()
    yield folder
    tiny.card.cache_clear()


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blotches of colour: something to see at every size."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (-(-height // 32), -(-width // 32), 3), np.uint8)
    return small.repeat(32, 0).repeat(32, 1)[:height, :width].copy()


def every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token by itself, whatever the weights think of it and whichever mask lies on which."""
    monkeypatch.setattr(tiny, "MIN_SCORE", -1.0)
    monkeypatch.setattr(tiny, "MOST_IOU", 2.0)
    monkeypatch.setattr(tiny, "SAME_IOU", 2.0)


def test_weights_ship_within_their_limit() -> None:
    names = {path.name for path in SHIPPED.iterdir()}
    assert {"tiny.json", "tiny.safetensors", "tiny-text.safetensors", "tiny-vocabulary.txt"} <= names
    assert sum(path.stat().st_size for path in SHIPPED.iterdir() if path.name.startswith("tiny")) <= MAX_BYTES
    card = json.loads((SHIPPED / "tiny.json").read_text("utf-8"))
    for name, sha in card["sha256"].items():
        assert hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest() == sha, name


def damage_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["tiny-text.safetensors", "tiny-vocabulary.txt"])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage_byte, "damaged .*{name} has another sha256.*reinstall vidmem"),
        (Path.unlink, "missing .*reinstall vidmem"),
    ],
)
def test_text_weights_missing_or_damaged_fail(
    weights: Path, name: str, harm: Callable[[Path], None], message: str
) -> None:
    harm(weights / name)
    with pytest.raises(ModelError, match=message.format(name=name)):
        load_text("tiny")


@pytest.mark.parametrize("harm", [damage_byte, Path.unlink])
def test_picture_weights_missing_or_damaged_fail(weights: Path, harm: Callable[[Path], None]) -> None:
    harm(weights / "tiny.safetensors")
    load_text("tiny")  # does not need them
    with pytest.raises(ModelError, match=r"weights of `tiny` are (damaged|missing)"):
        load("tiny", "cpu")


@pytest.mark.parametrize("text", [None, "", "{", "\x00"])
def test_card_missing_or_damaged_fails(weights: Path, text: str | None) -> None:
    if text is None:
        (weights / "tiny.json").unlink()
    else:
        (weights / "tiny.json").write_text(text)
    with pytest.raises(ModelError, match=r"weights of `tiny` are missing or damaged \(.*reinstall vidmem"):
        load_text("tiny")


def test_weights_of_another_shape_fail(weights: Path) -> None:
    from safetensors.torch import save_file

    state = {k: v.clone() for k, v in TinyNet().state_dict().items() if not k.startswith("score")}
    save_file(state, weights / "tiny.safetensors")
    card = json.loads((weights / "tiny.json").read_text())
    card["sha256"]["tiny.safetensors"] = hashlib.sha256((weights / "tiny.safetensors").read_bytes()).hexdigest()
    (weights / "tiny.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"do not fit this version.*reinstall vidmem"):
        load("tiny", "cpu")


def test_other_weights_are_another_model(weights: Path) -> None:
    before = TinyText().info.weights
    card = json.loads((weights / "tiny.json").read_text())
    card["sha256"]["tiny.safetensors"] = "0" * 64
    (weights / "tiny.json").write_text(json.dumps(card))
    tiny.card.cache_clear()
    assert TinyText().info.weights != before


def test_a_backbone_fails() -> None:
    for use in (load, load_text):
        with pytest.raises(ModelError, match="`tiny` has no backbone 'ViT-B-16' to choose; write --encoder tiny"):
            use("tiny:ViT-B-16")


def test_a_missing_device_fails() -> None:
    with pytest.raises(UsageError, match="--device banana"):
        load("tiny", "banana")


def test_text_side_needs_no_torch_and_both_agree(encoder: Tiny) -> None:
    code = """
import sys
from vidmem.encoders import load_text
vector = load_text("tiny").encode_text(["umbrella"])[0]
assert not [m for m in ("torch", "av", "PIL") if m in sys.modules], "heavy imports"
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
    text = load_text("tiny").encode_text(["umbrella", "a red key"])
    assert text.shape == (2, info.text_dim)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, rtol=1e-5)


def test_contrast_leaves_out_what_means_the_same() -> None:
    text = TinyText()
    np.testing.assert_allclose(np.linalg.norm(text.names, axis=1), 1, rtol=2e-3)
    (vector,) = text.encode_text(["umbrella"])
    against = text.contrast(vector)
    assert 0 < len(against) < len(text.names)
    assert (against @ vector).max() < tiny.card()["same_meaning"]


@pytest.mark.parametrize("phrase", ["", "🔑", "ключ"])
def test_an_unreadable_phrase_fails(phrase: str) -> None:
    with pytest.raises(UsageError, match="no English word"):
        load_text("tiny").encode_text([phrase])


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_working_size(width: int, height: int) -> None:
    w, h = Tiny.working_size(None, width, height)  # type: ignore[arg-type]
    assert w % 16 == 0
    assert h % 16 == 0
    assert 64 <= w <= 1792
    assert 64 <= h <= 1792
    assert w * h <= 1.2 * tiny.PIXELS
    assert (w // 8) * (h // 8) >= tiny.PEAKS  # as many patches as points are chosen
    if 1 / 4 <= width / height <= 4:
        assert abs(np.log((w / h) / (width / height))) < 0.12
    assert Tiny.working_size(None, height, width) == (h, w)  # type: ignore[arg-type]


def test_working_size_of_common_videos(encoder: Tiny) -> None:
    assert encoder.working_size(1280, 720) == encoder.working_size(1920, 1080) == (448, 256)
    assert encoder.working_size(720, 1280) == (256, 448)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (720, 1280), (640, 640)])
def test_regions_have_the_promised_form(
    encoder: Tiny, monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    every_token(monkeypatch)
    w, h = encoder.working_size(width, height)
    grid = tiny.GRID if width >= height else tiny.GRID[::-1]
    (regions,) = encoder.encode([noise(w, h)], width, height)
    assert len(regions) == 3 * (grid[0] * grid[1] + tiny.PEAKS)
    assert regions.visual.shape[1] == encoder.info.visual_dim
    assert regions.text.shape[1] == encoder.info.text_dim
    assert regions.masks.shape[1:] == (h // 8, w // 8)
    for name in ("visual", "text", "masks", "points", "boxes", "area"):
        array = getattr(regions, name)
        assert array.dtype == np.float32, name
        assert np.isfinite(array).all(), name
    np.testing.assert_allclose(regions.masks.max((1, 2)), 1, rtol=1e-6)
    assert regions.masks.min() >= 0
    assert ((regions.area > 0) & (regions.area <= 1)).all()
    size = np.array([width, height], np.float32)
    assert ((regions.points > 0) & (regions.points < size)).all()
    assert ((regions.boxes[:, :2] >= 0) & (regions.boxes[:, :2] < regions.boxes[:, 2:])).all()
    assert (regions.boxes[:, 2:] <= size + 1e-3).all()
    # the k tokens of a point stand together: the regular grid comes first
    np.testing.assert_allclose(regions.points[:3], np.tile(size / grid[::-1] / 2, (3, 1)), rtol=1e-5)


def test_tokens_without_a_region_are_left_out(encoder: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(448, 256)
    every_token(monkeypatch)
    (every,) = encoder.encode([image], 1280, 720)
    monkeypatch.setattr(tiny, "MIN_SCORE", 0.4)
    (kept,) = encoder.encode([image], 1280, 720)
    assert len(kept) <= len(every)
    monkeypatch.setattr(tiny, "MIN_SCORE", 2.0)
    (best,) = encoder.encode([image], 1280, 720)
    assert tiny.LEAST <= len(best) < len(every)  # any picture has its best regions, however poor; equals count as one
    assert best.masks.shape == (len(best), 32, 56)
    assert best.boxes.shape == (len(best), 4)


def test_a_batch_gives_what_its_pictures_give(encoder: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    every_token(monkeypatch)
    images = [noise(448, 256, seed) for seed in range(3)]
    together = encoder.encode(images, 1280, 720)
    again = encoder.encode(images, 1280, 720)
    for image, batched, repeated in zip(images, together, again, strict=True):
        np.testing.assert_array_equal(batched.visual, repeated.visual)
        (alone,) = encoder.encode([image], 1280, 720)
        # Nearly equal peaks may change places, or fall out: compare the points chosen both times.
        spots = [{tuple(p): i for i, p in enumerate(r.points[::3].round(1).tolist())} for r in (alone, batched)]
        common = sorted(spots[0].keys() & spots[1].keys())
        assert len(common) >= 0.75 * len(spots[0])
        rows = [np.array([3 * spot[p] for p in common])[:, None] + np.arange(3) for spot in spots]
        loose = 0.05 if encoder.dtype == torch.bfloat16 else 1e-3
        for name in ("visual", "text"):
            a, b = getattr(alone, name)[rows[0].ravel()], getattr(batched, name)[rows[1].ravel()]
            cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
            assert np.quantile(cosine, 0.02) > 1 - loose, name


def test_folded_batch_norm_changes_nothing() -> None:
    from safetensors.torch import load_file

    state: dict[str, Any] = load_file(SHIPPED / "tiny.safetensors")
    plain = TinyNet().eval()
    plain.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    image = torch.from_numpy(noise(128, 64)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        for ours, theirs in zip(tiny._load_net().backbone(image), plain.backbone(image), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_numbers_of_half_the_size_are_near() -> None:
    """bfloat16 rounds to 2^-9; what depends on differences between pictures stays in float32."""
    net, images = tiny._load_net(), torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    half = tiny._load_net().in_dtype(torch.bfloat16)
    assert half.visual_map.dtype == half.visual_mean.dtype == torch.float32
    with torch.inference_mode():
        exact, rounded = net.backbone(images), half.backbone(images)
        for a, b in zip(exact, rounded, strict=True):
            assert b.dtype == torch.bfloat16
            assert (a - b).std() < 0.1 * a.std()
        found = find(half, images, (2, 3), 4, 0.0, 1)
        assert half.visual(found.tokens).dtype == torch.float32


def test_only_what_is_kept_is_pooled() -> None:
    """Scores come before the pooling: the tokens and masks of those kept are what all of them would have."""
    net, images = tiny._load_net(), torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        every = find(net, images, (2, 3), 4, 0.0, 1)
        best = find(net, images, (2, 3), 4, 2.0, 5)
        features, heat = net.backbone(images)
        tokens, _, _ = net.regions(features, choose_points(heat, (2, 3), 4))
    assert every.counts == [30, 30]
    assert best.counts == [5, 5]
    torch.testing.assert_close(every.tokens, tokens.flatten(0, 2))
    for i in range(2):
        at = every.scores[30 * i : 30 * i + 30].topk(5).indices.sort().values + 30 * i
        mine = slice(5 * i, 5 * i + 5)
        torch.testing.assert_close(best.tokens[mine], every.tokens[at])
        torch.testing.assert_close(best.masks[mine], every.masks[at])
        torch.testing.assert_close(best.scores[mine], every.scores[at])


def test_points_are_a_grid_and_the_highest_peaks() -> None:
    heat = torch.full((1, 8, 10), -5.0)
    heat[0, 2, 3], heat[0, 2, 4], heat[0, 7, 9], heat[0, 0, 0] = 5.0, 4.0, 3.0, 1.0
    points = choose_points(heat, (2, 3), 3)[0]
    assert points.shape == (9, 2)
    expected = [(1 / 6, 0.25), (0.5, 0.25), (5 / 6, 0.25), (1 / 6, 0.75), (0.5, 0.75), (5 / 6, 0.75)]
    torch.testing.assert_close(points[:6], torch.tensor(expected))
    # (3, 2) beats its neighbour (4, 2), which is no peak
    torch.testing.assert_close(points[6:], torch.tensor([(0.35, 2.5 / 8), (0.95, 7.5 / 8), (0.05, 0.5 / 8)]))


def test_batches_side_by_side_share_the_threads() -> None:
    encoder, before = Tiny("cpu"), torch.get_num_threads()
    with encoder.parallel() as workers:
        assert 1 <= workers <= before
        assert torch.get_num_threads() == before // workers
        assert {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"} == {1}
    assert torch.get_num_threads() == before


def test_of_masks_on_one_another_the_best_stays() -> None:
    masks = np.zeros((4, 4, 4), np.float32)
    masks[0, :2], masks[1, :3], masks[2, 3], masks[3, :2, :2] = 1, 1, 1, 1
    scores = np.array([0.5, 0.9, 0.1, 0.2], np.float32)
    # The second is best; the first overlaps it by 8 of 12, the last by 4 of 12, the third not at all.
    kept, share = distinct(masks, scores)
    assert kept.tolist() == [1, 2]
    np.testing.assert_allclose(share, [[0.5 / 1.4, 0.9 / 1.4, 0, 0], [0, 0, 1, 0]], rtol=1e-6)


def test_no_mask_and_an_empty_one_are_no_accident() -> None:
    kept, share = distinct(np.zeros((0, 4, 4), np.float32), np.zeros(0, np.float32))
    assert (kept.shape, share.shape) == ((0,), (0, 0))
    kept, share = distinct(np.zeros((1, 4, 4), np.float32), np.full(1, 0.3, np.float32))
    assert (kept.tolist(), share.tolist()) == ([0], [[1.0]])


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_what_is_kept_overlaps_little_and_leaves_nothing_out(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = (rng.random((count, 3, 4)) < rng.random((count, 1, 1))).astype(np.float32)
    scores = rng.random(count, np.float32) + np.float32(0.01)
    kept, share = distinct(masks, scores)
    flat = masks.reshape(count, -1)
    common = flat @ flat.T
    iou = common / np.maximum(flat.sum(1)[:, None] + flat.sum(1) - common, 1)
    assert (iou[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)] <= tiny.MOST_IOU).all()
    for i in set(range(count)) - set(kept.tolist()):
        assert (iou[i, kept][scores[kept] >= scores[i]] > tiny.MOST_IOU).any()
    np.testing.assert_allclose(share.sum(1), 1, rtol=1e-5)


def test_a_mask_begins_as_what_has_enough_of_the_peak() -> None:
    head = MaskHead()
    queries, patches = torch.randn(1, DIM), torch.randn(4, MASK_DIM)
    attention = torch.tensor([[0.4, 0.4 * INSIDE * 1.01, 0.4 * INSIDE * 0.99, 0.0]])
    with torch.inference_mode():
        logits = head(queries, attention, patches)
        assert (logits > 0).tolist() == [[True, True, False, False]]
        torch.testing.assert_close(head(queries, attention * 0.01, patches), logits)
        assert head(queries, torch.zeros(1, 4), patches).isfinite().all()


def test_a_query_says_where_its_mask_ends() -> None:
    head, patches = MaskHead(), torch.zeros(2, MASK_DIM)
    patches[1, 3] = 80.0
    with torch.no_grad():
        head.query[2].bias[3] = 1.0  # what this part of a patch says counts, 80 / 8 of it
        logits = head(torch.zeros(1, DIM), torch.tensor([[0.5, 0.5 * math.exp(-4)]]), patches)
    before = -math.log(INSIDE) * 2
    torch.testing.assert_close(logits, torch.tensor([[before, before - 8 + 10]]))
