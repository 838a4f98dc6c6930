"""The step and the loop of DenseVLM's training, on small random models."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import dense_making as making
import pytest
import torch
from encoders import clip_folder
from safetensors.torch import load_file

from lab.train import checkpoint
from lab.train.densevlm.config import TrainConfig
from lab.train.densevlm.data import Pictures, Squares, collate, find_pictures
from lab.train.densevlm.labels import label_regions
from lab.train.densevlm.loop import Pair, fit, make_optimizer, make_pair, update
from lab.train.densevlm.step import step_loss
from lab.train.densevlm.texts import name_vectors
from lab.train.densevlm.towers import open_model, side_of
from lab.train.densevlm.weights import blended, originals, save_model
from lab.train.logs import FILE, read
from needs import needs
from vidmem.errors import MediaError, ModelError, UsageError

CPU = torch.device("cpu")
PROMPTS = ("a photo of a {}.", "a {}.")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The spellings of a student and of a teacher."""
    clip_folder.required()
    student, teacher = making.models(tmp_path_factory.mktemp("models"))
    return f"local-dir:{student}", f"local-dir:{teacher}"


@pytest.fixture
def found(tmp_path: Path) -> Pictures:
    return find_pictures([making.pictures(tmp_path / "pictures")])


def pair_of(folders: tuple[str, str], config: TrainConfig = making.SMALL) -> Pair:
    student, teacher = open_model("student", folders[0]), open_model("teacher", folders[1])
    return make_pair(student, teacher, making.NAMES, PROMPTS, config, CPU)


def batch_of(found: Pictures, count: int = 4) -> Any:
    squares = Squares(found, 48, 0)
    return collate([squares[(n, n)] for n in range(count)])


def test_a_teacher_of_another_grid_and_width(folders: tuple[str, str], found: Pictures) -> None:
    pair = pair_of(folders)
    assert (pair.student.tower.patch, pair.teacher.tower.patch) == (8, 10)
    assert (pair.student.side, pair.teacher.side) == (48, 50)
    assert (pair.student.texts.shape, pair.teacher.texts.shape) == ((5, 24), (5, 20))
    batch = batch_of(found)
    ours, theirs = pair.student.regions(batch), pair.teacher.regions(batch)
    assert len(ours) == len(theirs) == len(batch.boxes)
    assert (ours.shape[1], theirs.shape[1]) == (24, 20)
    assert ours.requires_grad
    assert not theirs.requires_grad


def test_boxes_lie_on_the_picture_for_both_grids(folders: tuple[str, str], found: Pictures) -> None:
    """A box over a left half that is not padded gives what the mean over those patches gives, nearly."""
    pair = pair_of(folders)
    batch = batch_of(found, 3)
    square = replace(batch, images=batch.images[1:2], boxes=torch.tensor([[0, 0, 0.5, 1.0]]))
    square = replace(square, counts=(1,))
    from vidmem.encoders.clip.dense import dense_features

    for seer in (pair.student, pair.teacher):
        grid = dense_features(seer.tower, seer.pixels(square))
        half = grid.shape[-1] // 2
        if grid.shape[-1] % 2 == 0:
            mean = grid[0, :, :, :half].mean((1, 2))
            assert torch.cosine_similarity(seer.regions(square)[0], mean, dim=0) > 0.97


def test_pictures_are_normalised_as_the_encoder_does(folders: tuple[str, str], found: Pictures) -> None:
    seer = pair_of(folders).student
    batch = batch_of(found)  # the first is 60 x 40, the last 30 x 70
    pixels = seer.pixels(batch)
    assert bool((pixels[0, :, 32:] == -2).all())  # black, with mean .5 and deviation .25
    assert bool((pixels[3, :, :, 21:] == -2).all())
    assert bool((pixels[0, :, :32] > -2).any())
    assert pixels[0, 1, 5, 7] == pytest.approx((batch.images[0, 1, 5, 7] / 255 - 0.5).item() / 0.25)


def test_the_gradient_reaches_the_whole_tower(folders: tuple[str, str], found: Pictures) -> None:
    pair = pair_of(folders)
    loss, figures = step_loss(pair.student, pair.teacher, batch_of(found), 3, making.SMALL)
    loss.backward()  # type: ignore[no-untyped-call]
    visual = pair.student_model.model.visual
    silent = [n for n, w in visual.named_parameters() if w.grad is None or not bool(w.grad.any())]
    assert silent == []
    assert all(w.grad is None for w in pair.teacher_model.model.parameters())
    assert all(w.grad is None for n, w in pair.student_model.model.named_parameters() if not n.startswith("visual"))
    assert figures["kept"] == 1
    assert 0 <= figures["things"] <= 1


def test_the_figures_of_a_step(folders: tuple[str, str], found: Pictures) -> None:
    config = replace(making.SMALL, threshold=0.5)
    pair = pair_of(folders, config)
    batch = batch_of(found)
    labels = label_regions(pair.teacher.regions(batch), pair.teacher.texts, threshold=0.5)
    _, figures = step_loss(pair.student, pair.teacher, batch, 3, config)
    assert figures["kept"].item() == pytest.approx(labels.valid.float().mean().item())
    thing = labels.valid & (labels.best < 3)
    assert figures["things"].item() == pytest.approx((thing.sum() / labels.valid.sum().clamp_min(1)).item())
    same = step_loss(pair.student, pair.student, batch, 3, config)
    assert same[0].item() == pytest.approx(0, abs=1e-4)
    assert same[1]["agree"] == 1


def test_no_valid_region_leaves_the_weights(folders: tuple[str, str], found: Pictures) -> None:
    config = replace(making.SMALL, threshold=1.0, weight_decay=0.0)
    pair = pair_of(folders, config)
    before = originals(pair.student_model)
    visual = pair.student_model.model.visual
    terms = update(pair, make_optimizer(visual, config), batch_of(found), 3, config, 0)
    assert (terms["loss"], terms["norm"], terms["kept"]) == (0, 0, 0)
    assert all(torch.equal(before[name], tensor) for name, tensor in visual.state_dict().items())


def test_parts_of_a_batch_give_the_mean_gradient(folders: tuple[str, str], found: Pictures) -> None:
    config = replace(making.SMALL, accumulate=2)
    pair = pair_of(folders, config)
    batch = batch_of(found)
    weight = pair.student_model.model.visual.conv1.weight
    total = torch.zeros_like(weight)
    for part in batch.parts(2):
        weight.grad = None
        step_loss(pair.student, pair.teacher, part, 3, config)[0].backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        total += weight.grad / 2
    optimizer = make_optimizer(pair.student_model.model.visual, replace(config, lr=1e-12))
    update(pair, optimizer, batch, 3, config, 0)
    torch.testing.assert_close(weight.grad, total, rtol=1e-4, atol=1e-7)


def test_bf16_is_close_to_fp32(folders: tuple[str, str], found: Pictures) -> None:
    pair, batch = pair_of(folders), batch_of(found)
    full, _ = step_loss(pair.student, pair.teacher, batch, 3, replace(making.SMALL, tau=0.1))
    half, _ = step_loss(pair.student, pair.teacher, batch, 3, replace(making.SMALL, tau=0.1, precision="bf16"))
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=0.1)


def test_vectors_of_names(folders: tuple[str, str]) -> None:
    loaded, _ = open_model("student", folders[0])
    unit = name_vectors(loaded, ("cup", "sky"), PROMPTS, CPU)
    mean = name_vectors(loaded, ("cup", "sky"), PROMPTS, CPU, "mean")
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(2))
    assert bool((mean.norm(dim=1) < 1).all())
    torch.testing.assert_close(torch.nn.functional.normalize(mean, dim=1), unit)
    from vidmem.encoders import load_text

    torch.testing.assert_close(
        unit, torch.from_numpy(load_text(f"clip:{folders[0]}").encode_in(("cup", "sky"), PROMPTS)), atol=1e-5, rtol=0
    )


def test_only_matrices_decay(folders: tuple[str, str]) -> None:
    visual = pair_of(folders).student_model.model.visual
    optimizer = make_optimizer(visual, making.SMALL)
    names = {id(weight): name for name, weight in visual.named_parameters()}
    decayed, plain = ({names[id(w)] for w in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert {"conv1.weight", "positional_embedding", "proj"} <= decayed
    assert {"class_embedding", "ln_pre.weight", "ln_post.bias"} <= plain
    assert not any(name.endswith("bias") for name in decayed)
    assert decayed | plain == set(names.values())
    (first, *_) = optimizer.param_groups
    assert (first["betas"], first["eps"]) == ((0.9, 0.98), 1e-6)


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / checkpoint.FILE)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_training_is_an_uninterrupted_one(
    folders: tuple[str, str], found: Pictures, tmp_path: Path, accumulate: int
) -> None:
    config = replace(making.SMALL, accumulate=accumulate, checkpoint_every=3)
    fit(pair_of(folders, config), making.NAMES, found, config, tmp_path / "whole", tensorboard=False)

    class Crash(Exception):
        pass

    def stop(step: int, _: object) -> None:
        if step == 5:  # past the checkpoint of step 3
            raise Crash

    with pytest.raises(Crash):
        fit(pair_of(folders), making.NAMES, found, config, tmp_path / "cut", tensorboard=False, report=stop)
    torch.manual_seed(77)  # nothing depends on the global state
    result = fit(
        pair_of(folders), making.NAMES, found, config, tmp_path / "cut", resume=True, workers=2, tensorboard=False
    )
    for name, tensor in state(tmp_path / "whole").items():
        assert torch.equal(tensor, state(tmp_path / "cut")[name]), name
    assert (tmp_path / "whole" / FILE).read_text() == (tmp_path / "cut" / FILE).read_text()
    ours, theirs = (load_file(folder / clip_folder.WEIGHTS) for folder in (result, tmp_path / "whole" / "model"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_training_learns_and_writes_a_model(folders: tuple[str, str], found: Pictures, tmp_path: Path) -> None:
    config = replace(making.SMALL, steps=40, lr=2e-3, log_every=10, checkpoint_every=40)
    pair = pair_of(folders, config)
    rows: list[dict[str, float]] = []
    result = fit(
        pair,
        making.NAMES,
        found,
        config,
        tmp_path / "out",
        tensorboard=False,
        report=lambda step, row: rows.append({"step": step, **row}),
    )
    logged = read(tmp_path / "out" / FILE)
    assert [row["step"] for row in logged] == [10, 20, 30, 40]
    assert logged[-1]["loss"] < logged[0]["loss"] / 2
    assert logged[-1]["agree"] > logged[0]["agree"]
    assert all(row["pictures_per_second"] > 0 for row in rows)
    pace, hours = rows[-1]["pictures_per_second"], rows[-1]["hours"]
    assert hours == pytest.approx(40 * 4 / pace / 3600)

    told = json.loads((result / "densevlm.json").read_text())
    assert told["alignment"] == "decoupled"
    assert told["steps"] == 40
    assert told["stuff"] == ["sky", "grass"]
    assert told["names_sha256"] == making.NAMES.sha256
    assert told["student_name"] == folders[0]
    old, new = open_model("student", folders[0])[0], open_model("student", f"local-dir:{result}")[0]
    trained = pair.student_model.model.visual.state_dict()
    before, after = old.model.state_dict(), new.model.state_dict()
    assert before.keys() == after.keys()
    for name in before:
        if name.startswith("visual."):
            wanted = 0.9 * trained[name[7:]] + 0.1 * before[name]
            torch.testing.assert_close(after[name], wanted, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["visual.proj"], after["visual.proj"])
    assert (new.mean, new.std) == (old.mean, old.std)


def test_the_result_replaces_an_earlier_one(folders: tuple[str, str], tmp_path: Path) -> None:
    loaded, _ = open_model("student", folders[0])
    original = originals(loaded)
    save_model(tmp_path / "model", loaded, original, {"step": 1})
    (tmp_path / "model" / "weights.json").write_text("{}")
    save_model(tmp_path / "model", loaded, blended(original, original, 0.9), {"step": 2})
    assert json.loads((tmp_path / "model" / "densevlm.json").read_text()) == {"step": 2}
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "densevlm.json",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="adapted model cannot be written"):
        save_model(tmp_path / "file" / "model", loaded, original, {})


def test_an_eva_tower_is_trained(tmp_path: Path, folders: tuple[str, str], found: Pictures) -> None:
    needs("timm")
    eva = {
        "vision_cfg": {
            "image_size": 32,
            "timm_model_name": "eva02_tiny_patch14_224",
            "timm_model_pretrained": False,
            "timm_pool": "token",
            "timm_proj": None,
        },
        "embed_dim": 192,
        "custom_text": True,
    }
    student = clip_folder.write(tmp_path / "eva", **eva)
    pair = pair_of((f"local-dir:{student}", folders[1]), replace(making.SMALL, size=56))
    patches = Squares(found, 56, 0)
    batch = collate([patches[(n, n)] for n in range(2)])
    loss, _ = step_loss(pair.student, pair.teacher, batch, 3, making.SMALL)
    loss.backward()  # type: ignore[no-untyped-call]
    trunk = pair.student_model.model.visual.trunk
    assert bool(trunk.pos_embed.grad.any())
    assert bool(trunk.blocks[0].norm1.weight.grad.any())
    half, _ = step_loss(pair.student, pair.teacher, batch, 3, replace(making.SMALL, precision="bf16"))
    assert half.item() == pytest.approx(loss.item(), rel=0.2)


def test_damaged_pictures_are_told_once(folders: tuple[str, str], found: Pictures, tmp_path: Path) -> None:
    Path(found.paths[1]).write_bytes(b"none")
    told: list[str] = []
    config = replace(making.SMALL, steps=4)
    fit(
        pair_of(folders),
        making.NAMES,
        found,
        config,
        tmp_path / "out",
        tensorboard=False,
        damaged=lambda path, reason: told.append(path),
    )
    assert told == [found.paths[1]]
    for path in found.paths:
        Path(path).write_bytes(b"none")
    with pytest.raises(MediaError, match="6 pictures in a row cannot be read"):
        fit(pair_of(folders), making.NAMES, found, config, tmp_path / "none", tensorboard=False)


def test_another_training_is_refused(folders: tuple[str, str], found: Pictures, tmp_path: Path) -> None:
    config = replace(making.SMALL, steps=1)
    with pytest.raises(UsageError, match="no training to resume"):
        fit(pair_of(folders), making.NAMES, found, config, tmp_path / "out", resume=True)
    fit(pair_of(folders), making.NAMES, found, config, tmp_path / "out", tensorboard=False)
    with pytest.raises(UsageError, match="`resume`"):
        fit(pair_of(folders), making.NAMES, found, config, tmp_path / "out", tensorboard=False)
    changed = replace(config, alignment="coupled", lr=1.0)
    with pytest.raises(UsageError, match=r"alignment \(decoupled, now coupled\), lr \(0\.001, now 1\.0\)"):
        fit(pair_of(folders), making.NAMES, found, changed, tmp_path / "out", resume=True, tensorboard=False)
    twins = (folders[0], folders[0])
    with pytest.raises(UsageError, match="differs in teacher"):
        fit(pair_of(twins), making.NAMES, found, config, tmp_path / "out", resume=True, tensorboard=False)


@pytest.mark.parametrize(
    ("who", "message"),
    [("teacher", "teacher's features of step 8 are not finite"), ("student", "loss of step 8 is not finite")],
)
def test_what_is_not_finite_changes_nothing(folders: tuple[str, str], found: Pictures, who: str, message: str) -> None:
    pair = pair_of(folders)
    before = originals(pair.student_model)
    getattr(pair, who).texts[0] = float("nan")
    visual = pair.student_model.model.visual
    with pytest.raises(UsageError, match=message):
        update(pair, make_optimizer(visual, making.SMALL), batch_of(found), 3, making.SMALL, 7)
    assert all(torch.equal(before[name], tensor) for name, tensor in visual.state_dict().items())


def test_backbones_that_are_refused(tmp_path: Path, folders: tuple[str, str]) -> None:
    needs("timm")
    pools = {
        "vision_cfg": {
            "image_size": 32,
            "timm_model_name": "vit_pe_core_tiny_patch16_384",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "embed_dim": 192,
        "custom_text": True,
    }
    spec = f"local-dir:{clip_folder.write(tmp_path / 'pools', **pools)}"
    with pytest.raises(ModelError, match=r"the teacher has a pooling head.*pools"):
        open_model("teacher", spec)
    resnet = {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}}
    spec = f"local-dir:{clip_folder.write(tmp_path / 'resnet', **resnet)}"
    with pytest.raises(ModelError, match=r"the student cannot be used: .*ModifiedResNet has no patches.*resnet"):
        open_model("student", spec)


def test_sizes_that_do_not_fit(folders: tuple[str, str]) -> None:
    _, tower = open_model("student", folders[0])
    assert side_of("student", tower, 512) == 512
    assert side_of("student", tower, 45) == 48
    assert side_of("student", tower, 1) == 8
    with pytest.raises(UsageError, match=r"45 pixels .* student's patches of 8; choose 40 or 48"):
        side_of("student", tower, 45, 45)
    with pytest.raises(UsageError, match=r"5 pixels .* patches of 8; choose 8$"):
        side_of("student", tower, 45, 5)
    tower.stretchable = False
    assert side_of("teacher", tower, 512) == 32
    with pytest.raises(UsageError, match="the teacher takes pictures of 32 pixels only; got 48"):
        side_of("teacher", tower, 512, 48)


def test_the_optimizer_of_8_bits(folders: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    visual = pair_of(folders).student_model.model.visual
    config = replace(making.SMALL, optimizer="adamw8bit")
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ModelError, match=r"needs bitsandbytes.* pip install bitsandbytes"):
        make_optimizer(visual, config)


def test_logs_for_tensorboard(folders: tuple[str, str], found: Pictures, tmp_path: Path) -> None:
    needs("tensorboardX")
    fit(pair_of(folders), making.NAMES, found, replace(making.SMALL, steps=2), tmp_path / "out")
    (events,) = (tmp_path / "out" / "tensorboard").iterdir()
    assert b"agree" in events.read_bytes()
    assert {"step", "loss", "kept", "things", "agree", "norm", "rate"} == read(tmp_path / "out" / FILE)[0].keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alignment": "free"}, "`alignment` is one of decoupled, coupled, apart, reversed"),
        ({"text_vectors": "long"}, "`text_vectors` is one of unit, mean"),
        ({"optimizer": "sgd"}, "`optimizer` is one of adamw, adamw8bit"),
        ({"batch": 0}, "`batch` is at least 1; got 0"),
        ({"steps": -1}, "`steps` is at least 0; got -1"),
        ({"tau": 0.0}, "`tau` is a number above 0; got 0.0"),
        ({"lr": float("nan")}, "`lr` is a number above 0; got nan"),
        ({"clip": -1.0}, "`clip` is a number from 0; got -1.0"),
        ({"blend": 1.1}, "`blend` lies between 0 and 1; got 1.1"),
        ({"beta2": 1.0}, "`beta2` lies between 0 and 1; got 1.0"),
        ({"accumulate": 5}, "`batch` 48 has no 5 equal parts"),
        ({"checkpoint_every": 70}, "`checkpoint_every` is a multiple of `log_every`, 50; got 70"),
    ],
)
def test_settings_that_make_no_sense_fail(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig(**change)


def test_steps_and_rates() -> None:
    config = TrainConfig()
    assert config.steps_for(118_287) == 14_786  # 6 epochs of COCO in batches of 48
    assert replace(config, steps=7).steps_for(118_287) == 7
    assert config.steps_for(1) == 1
    assert config.rate(0, 14_786) == pytest.approx(1e-8)
    assert config.rate(999, 14_786) == config.rate(1000, 14_786) == pytest.approx(1e-5)
    assert config.rate((14_786 + 1000) // 2, 14_786) == pytest.approx(5e-6)
    assert config.rate(14_785, 14_786) < 1e-12
