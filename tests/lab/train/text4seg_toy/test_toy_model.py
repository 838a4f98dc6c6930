"""The model: writing step by step equals reading at once, no answer sees its future, and training learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_making import SHORT, vision, writer

from lab.train.text4seg_toy import tokens
from lab.train.text4seg_toy.data import DEV, TEST, TRAIN, answer_text, batches, held_out, marks_of
from lab.train.text4seg_toy.loop import loss_of, train
from lab.train.text4seg_toy.measure import answers, empty_answers, limit_of, read, right_answers, scores, write
from lab.train.text4seg_toy.model import SEEN, Writer, places
from lab.train.text4seg_toy.questions import NOUNS
from lab.train.text4seg_toy.scenes import draw
from lab.train.text4seg_toy.vision import Vision, accuracy, label, pictures_of, teach
from lab.train.text4seg_toy.vision import loss_of as vision_loss
from vidmem.errors import UsageError
from vidmem.export.textlayout import LAYOUTS, Layout


@torch.inference_mode()
def test_step_by_step_equals_at_once() -> None:
    model = writer()
    batch = batches(vision(), 8, "rows", 8, 0, 0)[0]
    whole, marks = model(batch.features, batch.question, batch.answer)
    assert torch.allclose(marks, model.mark(batch.features, batch.question), atol=1e-5)
    row, column = places(batch.answer, 8)
    cache = model.start(batch.features, batch.question)
    for at in range(batch.answer.shape[1]):
        one = model.step(batch.answer[:, at], row[:, at], column[:, at], cache)
        assert torch.allclose(one, whole[:, at], atol=1e-5)


@torch.inference_mode()
def test_an_answer_does_not_see_its_future_but_the_picture_sees_the_question() -> None:
    model = writer()
    batch = batches(vision(), 8, "rows", 8, 0, 0)[0]
    changed = batch.answer.clone()
    changed[:, 10:] = tokens.IDS["cross"]
    a, b = (model(batch.features, batch.question, answer)[0] for answer in (batch.answer, changed))
    assert torch.equal(a[:, :10], b[:, :10])
    assert not torch.equal(a[:, 10:], b[:, 10:])
    other = batch.question.clone()
    other[:, -1] = tokens.IDS["cross"]
    first, second = (model.start(batch.features, q)[1][0] for q in (batch.question, other))
    assert not torch.equal(first[:, :, 0], second[:, :, 0])  # keys of the first picture token in the second layer


def test_greedy_writing_follows_the_largest_logit_and_ends() -> None:
    model, seen = writer(), batches(vision(), 4, "rows", 8, 0, 0)[0]
    written = write(model, seen.features, seen.question, 12)
    assert all(len(w) <= 12 and w[0] == tokens.OPEN_ID for w in written)
    answer = torch.tensor([written[0]])
    with torch.inference_mode():
        logits = model(seen.features[:1], seen.question[:1], answer)[0][0]
    assert logits.argmax(1)[: len(written[0]) - 1].tolist() == written[0][1:]


def test_constrained_answers_of_an_untaught_model_are_masks() -> None:
    items, seen, model = held_out(DEV, 6), vision(), writer()
    assert not any(answer.strict for answer in answers(model, seen, items, 8, "rows"))
    given = answers(model, seen, items, 8, "rows", constrain=True)
    assert all(answer.strict for answer in given)
    for item, answer in zip(items, given, strict=True):
        assert set(NOUNS) & set(answer.text.replace("*", " ").split()) <= {item.question.noun}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_right_answers_are_the_ceiling_and_empty_ones_the_baseline(layout: Layout) -> None:
    items = held_out(DEV, 40)
    right = scores(items, right_answers(items, 8, layout))
    assert right["strict"] == right["absent"] == 1
    assert 0.5 < right["ciou"] < 0.75
    assert max(a.tokens for a in right_answers(items, 8, layout)) <= limit_of(8)
    empty = scores(items, empty_answers(items))
    assert empty["ciou"] == 0
    assert empty["absent"] == 1
    assert empty["giou"] == pytest.approx(sum(item.question.absent for item in items) / 40)


def test_a_wrong_label_or_a_broken_text_counts_against_the_answer() -> None:
    item = next(i for i in held_out(DEV, 40) if i.question.noun == "circle" and not i.question.absent)
    text = answer_text(item, 8, "rows")
    good = read(tokens.encode(text), "circle", 8, "rows")
    wrong = read(tokens.encode(text.replace("circle", "square")), "circle", 8, "rows")
    assert good.strict
    assert good.mask.any()
    assert wrong.strict
    assert not wrong.mask.any()
    cut = read(tokens.encode(text)[:-6], "circle", 8, "rows")
    assert not cut.strict
    assert cut.mask.any()


def test_sets_share_no_scene_and_batches_repeat() -> None:
    a, b, other = (batches(vision(), 4, "rows", 8, 0, group) for group in (0, 0, 1))
    assert all(
        torch.equal(x.answer, y.answer) and torch.equal(x.features, y.features) for x, y in zip(a, b, strict=True)
    )
    assert not torch.equal(a[0].features[:1], other[0].features[:1])
    assert TRAIN + 50_000_000 < DEV < DEV + 50_000_000 < TEST


def test_training_learns_and_resumes_exactly(tmp_path: Path) -> None:
    seen = vision()
    whole = train(seen, SHORT, tmp_path / "whole")
    batch = batches(seen, 4, "rows", 8, 0, 0)[0]
    fresh = Writer(SHORT.model, 4)
    assert loss_of(whole, batch, 1.0)[0] < loss_of(fresh, batch, 1.0)[0] - 0.3

    class Stop(Exception):
        pass

    def stop(step: int, row: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(seen, SHORT, tmp_path / "parts", report=stop)
    again = train(seen, SHORT, tmp_path / "parts", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    with pytest.raises(UsageError, match="resume"):
        train(seen, SHORT, tmp_path / "parts")
    with pytest.raises(UsageError, match="lr"):
        train(seen, replace(SHORT, lr=1.0), tmp_path / "parts", resume=True)


def test_the_lesson_teaches_marks_and_its_weights_start_another_training(tmp_path: Path) -> None:
    seen = vision()
    lesson = replace(SHORT, lesson=True)
    taught = train(seen, lesson, tmp_path / "lesson")
    batch = batches(seen, 4, "rows", 8, 0, 0)[0]
    fresh = Writer(SHORT.model, 4)
    assert loss_of(taught, batch, 1.0, True)[0] < loss_of(fresh, batch, 1.0, True)[0] - 0.1
    settings = replace(SHORT, lr=1e-9, start="lesson")
    started = train(seen, settings, tmp_path / "started", start=taught.state_dict())
    assert torch.allclose(started.connector[0].weight, taught.connector[0].weight, atol=1e-6)


def test_marks_are_the_cells_of_both_grids() -> None:
    item = next(i for i in held_out(DEV, 40) if not i.question.absent)
    marks = marks_of([item])[0].view(SEEN, SEEN, 5)
    assert torch.equal(marks[..., 4] > 0, torch.from_numpy(item.mask(8).cells >= 0))
    fine = torch.from_numpy(item.mask(16).cells >= 0)
    for number, (y, x) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert torch.equal(marks[..., number] > 0, fine[y::2, x::2])


def test_answers_are_those_of_single_questions() -> None:
    items, seen, model = held_out(DEV, 3), vision(), writer()
    together = answers(model, seen, items, 4, "rows")
    for item, answer in zip(items, together, strict=True):
        assert answers(model, seen, [item], 4, "rows")[0].text == answer.text


def test_vision_labels_and_learns() -> None:
    scenes = [draw(n) for n in range(8)]
    labels = label(scenes)
    number = next(n for n, scene in enumerate(scenes) if scene.things[0].shape != "cross")
    thing = scenes[number].things[0]
    x, y = int(thing.x // 4), int(thing.y // 4)
    assert labels.colour[number, y, x] > 0
    assert labels.shape[number, y, x] > 0
    assert labels.pixels[number, y, x].mean() == 1
    assert labels.centre[number, :, y, x].abs().max() < 0.5
    assert set(accuracy(vision(), scenes)) == {"colour", "shape", "pixels", "centre_pixels"}
    taught = teach(30, batch=8)
    torch.manual_seed(0)  # of the start of `teach`
    pictures = pictures_of(scenes)
    assert vision_loss(taught, pictures, labels) < vision_loss(Vision(), pictures, labels) - 0.3
    assert not any(p.requires_grad for p in taught.parameters())
