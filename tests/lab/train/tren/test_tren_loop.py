"""The step and the loop: what is learnt, that a resumed training is an uninterrupted one, and what goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from making import COLOURS, SMALL, Squares, squares
from PIL import Image

from lab.train import checkpoint
from lab.train.logs import FILE, read
from lab.train.order import Order
from lab.train.tren import loop
from lab.train.tren.backbones import Seen
from lab.train.tren.config import LossConfig, ModelConfig, TrainConfig
from lab.train.tren.folder import Folder
from lab.train.tren.loop import fit, read_texts, update
from lab.train.tren.measure import measure, measure_patches
from lab.train.tren.prepare import Batch, Prepared, collate
from lab.train.tren.sample import Joined
from lab.train.tren.step import Texts, build, losses_of, pooled, project
from needs import needs
from vidmem.errors import MediaError, ModelError, UsageError

CPU = torch.device("cpu")
TERMS = {"visual", "text", "distil_visual", "distil_text", "mask"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(squares(tmp_path_factory.mktemp("data") / "set", 10))


@pytest.fixture
def batch(data: Folder) -> Batch:
    ready = Prepared(data, Squares.size, Squares.grid, SMALL)
    return collate([ready[key] for key in next(iter(Order(len(data), 4, 0, 1, 0)))])


def terms(backbone: Any, batch: Batch, data: Folder, config: TrainConfig, **more: Any) -> dict[str, torch.Tensor]:
    model = build(backbone, config.model, 0)
    texts = read_texts(backbone, data, config, None, CPU)
    return losses_of(model, backbone, batch, backbone.features(batch.images), texts, config, **more)


def test_every_term_has_its_weight(backbone: Any, batch: Batch, data: Folder) -> None:
    full = terms(backbone, batch, data, SMALL)
    assert full.keys() == TERMS
    for name in TERMS:
        half = terms(backbone, batch, data, replace(SMALL, losses=replace(SMALL.losses, **{name: 0.5})))
        torch.testing.assert_close(half[name], full[name] / 2)
        without = terms(backbone, batch, data, replace(SMALL, losses=replace(SMALL.losses, **{name: 0.0})))
        assert without.keys() == TERMS - {name}


def test_pooled_counts_patches_by_their_share() -> None:
    features = torch.tensor([1.0, 3.0, 5.0, 9.0]).view(1, 1, 2, 2)
    cover = torch.tensor([[[1.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])[None]
    torch.testing.assert_close(pooled(features, cover)[0, :, 0], torch.tensor([2.5 / 1.5, 0.0]))


def test_targets_of_the_text_half(backbone: Any, batch: Batch, data: Folder) -> None:
    """The head of this backbone is linear: both forms of the target are one."""
    ours = terms(backbone, batch, data, SMALL)["distil_text"]
    other = replace(SMALL, losses=replace(SMALL.losses, text_target="mean_of_head"))
    torch.testing.assert_close(terms(backbone, batch, data, other)["distil_text"], ours)


def test_distillation_is_zero_for_a_perfect_token(
    backbone: Any, batch: Batch, data: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give back the targets as predictions, in another order: matched, they cost nothing."""
    means = pooled(backbone.features(batch.images).patches, batch.cover)
    model = build(backbone, SMALL.model, 0)

    def forward(features: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        at = batch.targets.clamp_min(0)
        flat = at.flatten(1)[..., None]
        tokens = means.gather(1, flat.expand(-1, -1, means.shape[-1])).unflatten(1, at.shape[1:])
        masks = batch.cover.flatten(2)
        shown = masks.gather(1, flat.expand(-1, -1, masks.shape[-1])).unflatten(1, at.shape[1:])
        return tokens.flip(2), shown.flip(2).clamp_min(1e-6), tokens

    monkeypatch.setattr(model, "forward", forward)
    texts = read_texts(backbone, data, SMALL, None, CPU)
    found = losses_of(model, backbone, batch, backbone.features(batch.images), texts, SMALL)
    assert found["distil_visual"] == pytest.approx(0, abs=1e-5)
    assert found["mask"] < 0.35  # shares of patches at the rims remain


def test_regions_without_names_have_no_part_in_eq_2(backbone: Any, batch: Batch, data: Folder) -> None:
    nameless = replace(batch, labels=torch.full_like(batch.labels, -1))
    found = terms(backbone, nameless, data, SMALL)
    assert found["text"] == 0
    assert found["distil_text"] > 0


def test_dropout_follows_its_generator(backbone: Any) -> None:
    model, tokens = build(backbone, SMALL.model, 0), torch.ones(4000, 16)
    plain = project(model, tokens, 0.5, None)
    a, b, c = (project(model, tokens, 0.5, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    torch.testing.assert_close(a.mean(0), plain.mean(0), atol=0.02, rtol=0.1)


def test_build_follows_its_seed_and_leaves_the_global_one(backbone: Any) -> None:
    torch.manual_seed(9)
    before = torch.get_rng_state()
    one, same, other = (build(backbone, SMALL.model, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    near = build(backbone, replace(SMALL.model, start="near_identity"), 1)
    assert torch.diagonal(near.q_proj.weight).mean() > 0.7


def state(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / checkpoint.FILE)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_training_is_an_uninterrupted_one(
    backbone: Any, data: Folder, tmp_path: Path, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six steps at once, and three, a crash and three: weights, moments and log, bit for bit."""
    config = replace(SMALL, accumulate=accumulate, checkpoint_every=3)
    monkeypatch.setattr(loop, "save_weights", lambda model, path: None)
    fit(backbone, data, config, tmp_path / "whole", CPU, tensorboard=False)

    class Crash(Exception):
        pass

    def stop(step: int, _: object) -> None:
        if step == 5:  # past the checkpoint of step 3
            raise Crash

    with pytest.raises(Crash):
        fit(backbone, data, config, tmp_path / "cut", CPU, tensorboard=False, report=stop)
    assert len(read(tmp_path / "cut" / FILE)) == 5
    torch.manual_seed(77)  # nothing hangs on the global state
    fit(backbone, data, config, tmp_path / "cut", CPU, resume=True, tensorboard=False)
    whole, cut = state(tmp_path / "whole"), state(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert any(name.endswith("exp_avg_sq") for name in whole)
    for name in whole:
        assert torch.equal(whole[name], cut[name]), name
    assert (tmp_path / "whole" / FILE).read_text() == (tmp_path / "cut" / FILE).read_text()


def test_workers_change_nothing(backbone: Any, data: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "save_weights", lambda model, path: None)
    config = replace(SMALL, steps=3)
    for workers in (0, 2):
        fit(backbone, data, config, tmp_path / str(workers), CPU, workers=workers, tensorboard=False)
    alone, helped = state(tmp_path / "0"), state(tmp_path / "2")
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def test_parts_of_a_batch_give_the_mean_gradient(backbone: Any, batch: Batch, data: Folder) -> None:
    """Of the terms that are means over tokens of one picture each, two parts give the mean of the two."""
    config = replace(SMALL, losses=LossConfig(visual=0, text=0, distil_text=0), clip=1e9, accumulate=2)
    texts = read_texts(backbone, data, config, None, CPU)
    grads = []
    for parts in (batch.chunk(1), batch.chunk(2)):
        model = build(backbone, config.model, 0)
        total = torch.zeros(())
        for part in parts:
            found = losses_of(model, backbone, part, backbone.features(part.images), texts, config)
            count = (part.targets >= 0).sum() / (batch.targets >= 0).sum()
            total = total + count * torch.stack(list(found.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        grads.append(model.q_proj.weight.grad)
    torch.testing.assert_close(grads[0], grads[1], atol=1e-6, rtol=1e-4)


def test_training_learns(backbone: Any, data: Folder, tmp_path: Path) -> None:
    """160 steps on coloured squares: the losses fall, and regions are named better than by single patches."""
    config = replace(
        SMALL,
        steps=160,
        points=24,
        warmup=5,
        log_every=20,
        checkpoint_every=160,
        lr=4e-3,
        model=ModelConfig(heads=2, layers=1, seed_queries=True, start="near_identity"),
    )
    model = fit(backbone, data, config, tmp_path / "out", CPU, tensorboard=False)
    rows = read(tmp_path / "out" / FILE)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.5
    assert rows[-1]["distil_visual"] < rows[0]["distil_visual"]
    held = Folder(squares(tmp_path / "held", 8, seed=9))
    ready = Prepared(held, backbone.size, backbone.grid, config)
    test = [collate([ready[(i, i)] for i in range(8)])]
    seen = [backbone.features(test[0].images)]
    texts = backbone.text(held.names)
    ours = measure(model, backbone, test, seen, texts, grid=(6, 8), mergers=2)
    theirs = measure_patches(test, seen, texts, backbone.patch_head)
    before = measure(build(backbone, config.model, 0).eval(), backbone, test, seen, texts, grid=(6, 8), mergers=2)
    assert ours.named_by_point > 0.8
    assert ours.named_by_point > before.named_by_point + 0.2
    assert ours.iou_by_point is not None
    assert before.iou_by_point is not None
    assert ours.iou_by_point > before.iou_by_point + 0.05
    assert ours.patches == theirs.patches == 48
    assert ours.merged is not None
    assert ours.kept is not None
    assert 1 <= ours.merged <= ours.kept <= 6 * 8 * 3
    from vidmem.encoders.tren.checkpoint import load_region_encoder

    again = load_region_encoder(tmp_path / "out" / loop.WEIGHTS)
    for a, b in zip(again(seen[0].patches, test[0].points), model(seen[0].patches, test[0].points), strict=True):
        torch.testing.assert_close(a, b)


def test_bf16_is_close_to_fp32(backbone: Any, batch: Batch, data: Folder) -> None:
    full = terms(backbone, batch, data, SMALL)
    half = terms(backbone, batch, data, replace(SMALL, precision="bf16"))
    for name in TERMS:
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(full[name].item(), abs=0.15)


def test_the_rate() -> None:
    config = TrainConfig()
    assert config.rate(0) == pytest.approx(1e-3 / 1500)
    assert config.rate(1499) == config.rate(1500) == pytest.approx(1e-3)
    assert config.rate((60_000 + 1500) // 2) == pytest.approx(0.75e-3)
    assert config.rate(60_000) == pytest.approx(0.5e-3)


def test_logs_for_tensorboard(backbone: Any, data: Folder, tmp_path: Path) -> None:
    needs("tensorboardX")
    fit(backbone, data, replace(SMALL, steps=2), tmp_path, CPU)
    events = list((tmp_path / "tensorboard").iterdir())
    assert len(events) == 1
    assert b"distil_visual" in events[0].read_bytes()
    assert {"step", "loss", "norm", "rate", *TERMS} == read(tmp_path / FILE)[0].keys()


def test_a_training_is_not_overwritten(backbone: Any, data: Folder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training to resume"):
        fit(backbone, data, SMALL, tmp_path / "none", CPU, resume=True)
    assert not (tmp_path / "none").exists()
    config = replace(SMALL, steps=1)
    fit(backbone, data, config, tmp_path, CPU, tensorboard=False)
    with pytest.raises(UsageError, match="`resume`"):
        fit(backbone, data, config, tmp_path, CPU, tensorboard=False)
    other = replace(config, lr=5e-3, losses=LossConfig(tau=0.2))
    with pytest.raises(UsageError, match=r"losses\.tau \(0\.1, now 0\.2\), lr \(0\.002, now 0\.005\)"):
        fit(backbone, data, other, tmp_path, CPU, resume=True, tensorboard=False)


def test_damaged_checkpoints_fail(backbone: Any, data: Folder, tmp_path: Path) -> None:
    config = replace(SMALL, steps=1)
    fit(backbone, data, config, tmp_path, CPU, tensorboard=False)
    path = tmp_path / checkpoint.FILE
    whole = path.read_bytes()
    for damaged in (whole[:200], whole[: len(whole) // 2], b"", b"\x80\x04N."):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"not a checkpoint.*training\.safetensors"):
            fit(backbone, data, config, tmp_path, CPU, resume=True, tensorboard=False)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, path, {"format": "other"})
    with pytest.raises(ModelError, match="its format is 'other'"):
        fit(backbone, data, config, tmp_path, CPU, resume=True, tensorboard=False)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(backbone: Any, batch: Batch, data: Folder) -> None:
    model = build(backbone, SMALL.model, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters())
    texts = read_texts(backbone, data, SMALL, None, CPU)
    blind = Seen(torch.full((4, 16, 6, 8), float("nan")))
    with pytest.raises(UsageError, match="loss of step 8 is not finite"):
        update(model, backbone, optimizer, [batch], texts, SMALL, 7, lambda _: blind)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_data_without_names(backbone: Any, tmp_path: Path) -> None:
    folder = squares(tmp_path / "set", 3)
    (folder / "names.json").write_text(json.dumps({"1": None, "2": None, "3": None}))
    nameless = Folder(folder)
    with pytest.raises(UsageError, match="no region of the data has a name"):
        fit(backbone, nameless, SMALL, tmp_path / "out", CPU, tensorboard=False)
    config = replace(SMALL, steps=1, losses=LossConfig(text=0))
    fit(backbone, nameless, config, tmp_path / "out", CPU, tensorboard=False)
    assert (tmp_path / "out" / loop.WEIGHTS).exists()


def test_synonyms_reach_the_loss(backbone: Any, batch: Batch, data: Folder, tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("\t".join(COLOURS))
    texts = read_texts(backbone, data, SMALL, path, CPU)
    assert isinstance(texts, Texts)
    assert texts.groups.tolist() == [0, 0, 0]
    model = build(backbone, SMALL.model, 0)
    assert losses_of(model, backbone, batch, backbone.features(batch.images), texts, SMALL)["text"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": LossConfig(text_form="code")}, "`text_form` is one of paper, all, infonce"),  # type: ignore[arg-type]
        ({"losses": LossConfig(visual=-1)}, "weight visual"),
        ({"losses": LossConfig(0.1, 0, 0, 0, 0, 0)}, "nothing to learn"),
        ({"losses": LossConfig(tau=0)}, "tau is a number above 0"),
        ({"batch": 5, "accumulate": 2}, "no 2 equal parts"),
        ({"points": 0}, "points is at least 1"),
        ({"model": ModelConfig(k=0)}, "k is at least 1"),
        ({"model": ModelConfig(dropout=1.0)}, "dropout in"),
        ({"checkpoint_every": 7, "log_every": 5}, "multiple of log_every"),
        ({"lr": float("nan")}, "lr is a number above 0"),
    ],
)
def test_settings_that_make_no_sense_fail(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig(**change)


def test_settings_survive_json() -> None:
    config = replace(SMALL, losses=LossConfig(tau=0.2, spare="repeat"))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    with pytest.raises(UsageError, match="unknown here"):
        TrainConfig.from_dict({"speed": 3})


@pytest.fixture
def damaged(tmp_path: Path) -> Folder:
    """Six pictures: 1 is no image, 2 has a mask of another size, and 4 an empty one."""
    folder = squares(tmp_path / "damaged", 6)
    (folder / "images" / "001.png").write_bytes(b"no image")
    for name, size in (("002", (60, 48)), ("004", (64, 48))):
        Image.new("L", size).save(folder / "masks" / f"{name}.png")
    return Folder(folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_that_cannot_be_used_are_left_out(
    backbone: Any, damaged: Folder, tmp_path: Path, workers: int
) -> None:
    """Each is named once, others take their places, and a resumed training is an uninterrupted one."""
    config = replace(SMALL, checkpoint_every=3)
    named: list[str] = []
    whole = tmp_path / "whole"
    fit(backbone, damaged, config, whole, CPU, workers=workers, tensorboard=False, damaged=named.append)
    assert len(named) == 3
    for name, cause in (("001", "cannot be read"), ("002", "60x48"), ("004", "no mask of this picture")):
        assert sum(name in message and cause in message for message in named) == 1

    class Crash(Exception):
        pass

    def stop(step: int, _: object) -> None:
        if step == 5:
            raise Crash

    cut = tmp_path / "cut"
    with pytest.raises(Crash):
        fit(backbone, damaged, config, cut, CPU, tensorboard=False, report=stop)
    fit(backbone, damaged, config, cut, CPU, resume=True, tensorboard=False)
    one, two = state(whole), state(cut)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (whole / FILE).read_text() == (cut / FILE).read_text()


@pytest.mark.parametrize("workers", [0, 1])
def test_data_without_a_usable_picture_fails(backbone: Any, tmp_path: Path, workers: int) -> None:
    folder = squares(tmp_path / "set", 3)
    for path in (folder / "images").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(MediaError, match=r"^3 pictures in a row cannot be used; the first one: .*png$"):
        fit(backbone, Folder(folder), SMALL, tmp_path / "out", CPU, workers=workers, tensorboard=False)


def test_the_place_of_a_picture_is_taken_within_its_data_set(damaged: Folder, data: Folder) -> None:
    ready = Prepared(Joined([damaged, data]), Squares.size, Squares.grid, SMALL)
    assert ready[(0, 1)]["index"].tolist() == [3]
    (damaged.folder / "images" / "005.png").write_bytes(b"no image")
    assert ready[(0, 4)]["index"].tolist() == [0]
    assert [number for number, _ in ready[(0, 4)]["damaged"]] == [4, 5]


def test_heads_that_do_not_divide_the_width_fail(backbone: Any) -> None:
    with pytest.raises(UsageError, match="`heads` divides the width of the backbone, 16; got 7"):
        build(backbone, ModelConfig(heads=7), 0)
