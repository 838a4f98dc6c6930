"""`vidmem eval vq2d` on a small set in the published layout: report, predictions, resuming, missing clips, online."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fakes
import pytest
from evaluation import vq2d_set

from vidmem.cli.eval import common
from vidmem.encoders import registry
from vidmem.evaluation.vq2d_files import load_annotations, queries
from vidmem.evaluation.vq2d_metrics import official_metrics
from vidmem.evaluation.vq2d_predictions import load_predictions

PERFECT = {"queries": 5, "answered": 5, "tap25": 1.0, "success": 100.0}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return vq2d_set.write(tmp_path_factory.mktemp("vq2d"))


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> fakes.Colours:
    """The encoder of these tests, which counts the pictures that it saw."""
    encoder = fakes.Colours()
    monkeypatch.setattr(common, "load", lambda *_, **__: encoder)
    return encoder


def evaluate(run: Any, files: tuple[Path, Path], out: Path, *options: object) -> Any:
    return run("eval", "vq2d", *files, "--encoder", "colours", "--out", out, *options)


def report(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found


@pytest.mark.parametrize("online", [False, True])
def test_the_report(run: Any, files: tuple[Path, Path], tmp_path: Path, online: bool) -> None:
    result = evaluate(run, files, tmp_path / "out", "--json", *(["--online"] if online else []))
    assert result.exit_code == 0, result.stderr
    written = report(tmp_path / "out")
    assert json.loads(result.stdout) == written
    official = written["official"]
    assert {name: official[name] for name in PERFECT} == PERFECT
    assert official["stap25"] == 1.0  # cells are 8 pixels, squares 32
    assert official["recovery"] > 95
    assert written["tren_protocol"]["recall"] == 100.0
    assert written["cost"]["hours"] == pytest.approx(27 / 3600)
    assert written["cost"]["tracks_per_hour"] == pytest.approx(6 / 27 * 3600)  # each stay of a colour is a track
    assert written["cost"]["bytes_per_hour"] > 0
    page = (tmp_path / "out" / "report.md").read_text()
    first = page.splitlines()[0]
    assert first == ("## VQ2D online, 3 clips" if online else "## VQ2D, 3 clips")
    assert "| VQLoC | 0.31 | - | 0.22 | - | 47.05 | 55.89 | - | - | PRVQL, validation set |" in page
    assert "| T-REN | - | - | - | - | - | - | 52.40 | 26.40 | arXiv 2604.18573, Table 3 |" in page
    assert ("| ESOM, the best online | 4.00 | - | - | - | - | arXiv 2411.16934, abstract |" in page) == online
    assert "looser than the official one" in page


def test_predictions_are_in_the_layout_of_the_challenge(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    evaluate(run, files, tmp_path)
    annotations = load_annotations(files[0])
    written = json.loads((tmp_path / "predictions.json").read_text())
    assert (written["challenge"], written["version"]) == ("ego4d_vq2d_challenge", "1.0.5")
    for video, predicted in zip(annotations["videos"], written["results"]["videos"], strict=True):
        assert predicted["video_uid"] == video["video_uid"]
        (clip,), (own,) = video["clips"], predicted["clips"]
        assert own["clip_uid"] == clip["clip_uid"]
        assert list(own["predictions"][0]["query_sets"]) == list(clip["annotations"][0]["query_sets"])
    valid = {query.key for query in queries(annotations)}
    assert set(load_predictions(tmp_path / "predictions.json")) == valid


@pytest.mark.parametrize("online", [False, True])
def test_a_run_that_stops_goes_on_as_one_that_did_not(
    run: Any,
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seen: fakes.Colours,
    online: bool,
) -> None:
    """It stops at the second clip."""
    options = ["--online"] if online else []
    evaluate(run, files, tmp_path / "trial", "--limit", 1, *options)
    encode, enough = fakes.Colours.encode, seen.seen
    seen.seen = 0

    def stopping(self: fakes.Colours, images: Any, width: int, height: int) -> Any:
        if self.seen >= enough:
            raise KeyboardInterrupt
        return encode(self, images, width, height)

    with monkeypatch.context() as patched:
        patched.setattr(fakes.Colours, "encode", stopping)
        assert evaluate(run, files, tmp_path / "out", *options).exit_code == 130
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert len(lines) == 2
    again = evaluate(run, files, tmp_path / "out", *options)
    assert again.exit_code == 0, again.stderr
    assert "done before; going on" in again.stderr
    assert evaluate(run, files, tmp_path / "whole", *options).exit_code == 0
    one, two = report(tmp_path / "out"), report(tmp_path / "whole")
    for name in ("official", "tren_protocol", "notes"):
        assert one[name] == two[name]
    assert one["cost"]["tracks_per_hour"] == two["cost"]["tracks_per_hour"]
    predictions = [(tmp_path / name / "predictions.json").read_bytes() for name in ("out", "whole")]
    assert predictions[0] == predictions[1]


def test_memories_are_used_again(run: Any, files: tuple[Path, Path], tmp_path: Path, seen: fakes.Colours) -> None:
    evaluate(run, files, tmp_path / "first")
    before = seen.seen
    result = evaluate(
        run, files, tmp_path / "second", "--memories", tmp_path / "first" / "memories", "--threshold", 0.5
    )
    assert result.exit_code == 0, result.stderr
    assert seen.seen == before
    assert report(tmp_path / "second")["cost"]["index_ratio"] is None  # nothing was indexed
    other = evaluate(run, files, tmp_path / "third", "--memories", tmp_path / "first" / "memories", "--fps", 2)
    assert other.exit_code == 4
    assert "fps" in other.stderr


def test_missing_and_damaged_clips_are_named(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    shutil.copytree(files[1], clips)
    (clips / "c1.mp4").unlink()
    (clips / "c2.mp4").write_bytes(b"no film")
    result = evaluate(run, (files[0], clips), tmp_path / "out")
    assert result.exit_code == 3
    assert f"left out, c1: the clip is missing; put c1.mp4 or v1.mp4 there: {clips}" in result.stderr
    assert "left out, c2: " in result.stderr
    assert report(tmp_path / "out")["official"]["queries"] == 2
    shutil.copy(files[1] / "c1.mp4", clips / "v1.mp4")  # the whole video, of which the clip is a part
    shutil.copy(files[1] / "c2.mp4", clips / "c2.mp4")
    again = evaluate(run, (files[0], clips), tmp_path / "out")
    assert again.exit_code == 0, again.stderr
    assert {name: report(tmp_path / "out")["official"][name] for name in PERFECT} == PERFECT


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("part", [{"x": 5000}, {"width": -50}, {"frame_number": 500}, {"width": 0.01}])
def test_a_bad_crop_costs_its_query_alone(
    run: Any, files: tuple[Path, Path], tmp_path: Path, online: bool, part: dict[str, Any]
) -> None:
    """A crop that is smaller than a pixel still has a place offline, and no picture online."""
    document = vq2d_set.document()
    document["videos"] = document["videos"][:1]
    document["videos"][0]["clips"][0]["annotations"][0]["query_sets"]["2"]["visual_crop"].update(part)
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(document))
    result = evaluate(run, (bad, files[1]), tmp_path / "out", *(["--online"] if online else []))
    assert result.exit_code == 0, result.stderr
    written = report(tmp_path / "out")
    answered = 2 if "width" in part and part["width"] > 0 and not online else 1
    assert (written["official"]["queries"], written["official"]["answered"]) == (2, answered)
    assert list(written["notes"]) == ([] if answered == 2 else ["a0/2"])
    assert all(note.startswith("no token for the crop: ") for note in written["notes"].values())


def test_a_long_title_has_a_short_note_and_no_number_a_null(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    document = vq2d_set.document()
    document["videos"][0]["clips"][0]["annotations"][0]["query_sets"]["2"]["object_title"] = "0" * 10_000
    document["version"] = float("nan")
    long = tmp_path / "long.json"
    long.write_text(json.dumps(document))
    assert evaluate(run, (long, files[1]), tmp_path / "out", "--limit", 1).exit_code == 0
    assert 20 < len(report(tmp_path / "out")["notes"]["a0/2"]) <= 300
    assert (tmp_path / "out" / "predictions.json").read_text().startswith('{"version": null,')


def test_numbers_out_of_range_name_the_query(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    document = vq2d_set.document()
    document["videos"][1]["clips"][0]["annotations"][0]["query_sets"]["2"]["query_frame"] = 2 * 10**11
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(document))
    result = evaluate(run, (bad, files[1]), tmp_path / "out")
    assert result.exit_code == 4
    assert "query 2 of annotation a1 has a wrong part (`query_frame` is 200000000000" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_metrics_are_of_the_predictions_as_written(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    """Boxes of the annotations are made small, so that whole pixels matter."""
    document = vq2d_set.document()
    for video in document["videos"]:
        for one in video["clips"][0]["annotations"][0]["query_sets"].values():
            for box in (one["visual_crop"], *one["response_track"]):
                for name in ("x", "y", "width", "height"):
                    box[name] /= 40
                box["original_width"], box["original_height"] = vq2d_set.SIZE[0] // 40, vq2d_set.SIZE[1] // 40
    small = tmp_path / "small.json"
    small.write_text(json.dumps(document))
    assert evaluate(run, (small, files[1]), tmp_path / "out").exit_code == 0
    known = [query for query in queries(load_annotations(small)) if query.response]
    written = load_predictions(tmp_path / "out" / "predictions.json")
    assert report(tmp_path / "out")["official"] == asdict(official_metrics(known, written))


def test_a_trial_of_one_clip(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    assert evaluate(run, files, tmp_path, "--limit", 1).exit_code == 0
    assert (tmp_path / "report.md").read_text().startswith("## VQ2D, the first 1 of 3 clips\n")
    assert report(tmp_path)["official"]["queries"] == 2
    assert len(load_predictions(tmp_path / "predictions.json")) == 5  # the others have a box nowhere


def test_a_file_without_answers_gives_predictions_alone(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    document = vq2d_set.document()
    for video in document["videos"]:
        for one in video["clips"][0]["annotations"][0]["query_sets"].values():
            del one["response_track"]
    unannotated = tmp_path / "vq_test_unannotated.json"
    unannotated.write_text(json.dumps(document))
    result = evaluate(run, (unannotated, files[1]), tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert report(tmp_path / "out")["official"] is None
    assert "| colours | - | - | - | - | - | - | - | - | this run |" in (tmp_path / "out" / "report.md").read_text()
    assert len(load_predictions(tmp_path / "out" / "predictions.json")) == 5


@pytest.mark.parametrize("online", [False, True])
def test_tiny_answers(
    run: Any, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: bool
) -> None:
    monkeypatch.setattr(common, "load", registry.load)
    options = ["--online"] if online else []
    result = run("eval", "vq2d", *files, "--limit", 1, "--out", tmp_path, *options)
    assert result.exit_code == 0, result.stderr
    written = report(tmp_path)
    assert (written["official"]["queries"], written["official"]["answered"]) == (2, 2)
    assert written["official"]["success"] == 100.0
    assert written["notes"] == {}
    assert "| tiny" in (tmp_path / "report.md").read_text()


def test_what_cannot_be_is_refused(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    both = evaluate(run, files, tmp_path, "--online", "--memories", tmp_path / "m")
    assert both.exit_code == 2
    assert "--online and --memories exclude each other" in both.stderr
    for threshold in ("nan", "inf"):
        refused = evaluate(run, files, tmp_path, "--threshold", threshold)
        assert refused.exit_code == 2
        assert "--threshold is a similarity" in refused.stderr
    assert "--fps is a number" in evaluate(run, files, tmp_path, "--fps", 0).stderr
    none = evaluate(run, files, tmp_path, "--split", "train")
    assert none.exit_code == 4
    assert "no clip of the split 'train' with a valid query" in none.stderr
    assert "no such folder of clips" in evaluate(run, (files[0], tmp_path / "no"), tmp_path).stderr
    foreign = tmp_path / "coco.json"
    foreign.write_text('{"images": []}')
    assert "have a list `videos`" in evaluate(run, (foreign, files[1]), tmp_path).stderr
    away = tmp_path / "away.json"
    document = vq2d_set.document()
    document["videos"][0]["clips"][0]["clip_uid"] = "../c0"
    away.write_text(json.dumps(document))
    assert "names a file" in evaluate(run, (away, files[1]), tmp_path).stderr
