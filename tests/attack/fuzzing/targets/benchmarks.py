"""Files of the benchmarks of `vidmem eval`: lists, points, polygons, label pictures, predictions, and its journal."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..mutate import binary, json_tree, text
from ..target import Ready, Target
from .datasets import document
from .texts import as_file, seeds


def points(folder: Path) -> Ready:
    """Point labels of OpenImages V7, and the names of its classes."""
    from vidmem.evaluation.open_images import PointFile, read_descriptions

    def read(path: Path) -> None:
        if path.read_bytes()[:9] == b"LabelName":
            read_descriptions(path)
            return
        found = PointFile(path, folder)
        for image in found.images[:5]:
            found.picture(image)

    head = "ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel\n"
    rows = 'a,0.5,0.25,/m/01,yes,x,1,0,0,cup\na,0.1,1,/m/02,no,x,0,1,0,"dog, big"\nb,0,0,/m/01,unsure,x,0,0,1,cup\n'
    names = "LabelName,DisplayName\n/m/01,Cup\n/m/02,Dog\n"
    return Ready(as_file(folder, "points.csv", read), seeds(head + rows, names))


def reasonseg(folder: Path) -> Ready:
    """Annotations of ReasonSeg: a question and polygons."""
    from vidmem.evaluation.reasonseg import Question, read_target

    shapes = [
        {"label": "target", "points": [[1, 1], [20.5, 2], [10, 15]]},
        {"label": "ignore", "points": [[5, 5], [6, 6]]},
        {"label": "flag", "points": []},
    ]
    made = {"text": ["what is drunk from?"], "is_sentence": True, "shapes": shapes}
    read = as_file(folder, "a.json", lambda path: read_target(Question(path.with_suffix(".jpg"), path), (32, 24)))
    return Ready(read, [document(made)])


def context(folder: Path) -> Ready:
    """Label files of PASCAL-Context, in MATLAB's format."""
    from scipy.io import savemat

    from vidmem.evaluation.ovss_context import read_mat

    made = []
    for packed in (False, True):
        out = io.BytesIO()
        savemat(out, {"LabelMap": np.arange(48, dtype=np.uint16).reshape(6, 8)}, do_compression=packed)
        made.append(out.getvalue())
    return Ready(as_file(folder, "a.mat", read_mat), made)


def class_names(folder: Path) -> Ready:
    """Names of the classes of a data set, one a line."""
    from vidmem.evaluation.ovss_names import read_names

    return Ready(
        as_file(folder, "names.txt", lambda path: read_names(path, 3)), seeds("cup\ndog\nwall-brick\n", "a\tb\nc\nd\n")
    )


def label_pictures(folder: Path) -> Ready:
    """Label pictures: PNGs with one number per pixel."""
    from PIL import Image

    from vidmem.evaluation.label_pictures import classes_of, read_numbers

    made = []
    for picture in (np.arange(48, dtype=np.uint8).reshape(6, 8), np.arange(48, dtype=np.uint16).reshape(6, 8) * 900):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "PNG")
        made.append(out.getvalue())
    return Ready(as_file(folder, "a.png", lambda path: classes_of(read_numbers(path), {1: 0, 2: 1})), made)


def vspw_list(folder: Path) -> Ready:
    """The list of a split of VSPW, as `vidmem eval vspw` reads it."""
    from vidmem.errors import MediaError
    from vidmem.evaluation.vspw import read_vspw

    def read(_: Path) -> None:
        for video in read_vspw(folder)[:3]:
            with suppress(MediaError):  # the videos are not there
                video.frames()

    return Ready(as_file(folder, "val.txt", read), seeds("walk\nhouse\n", "a_1\r\n\r\nb\n"))


def vq2d_predictions(folder: Path) -> Ready:
    """Predictions for Ego4D's visual queries, in the layout of the challenge."""
    from vidmem.evaluation.vq2d_predictions import load_predictions

    boxes = [{"fno": n, "x1": 1, "y1": 2, "x2": 30, "y2": 40} for n in (5, 6, 7)]
    sets = {"1": {"bboxes": boxes, "score": 0.5}, "2": {"bboxes": [], "score": 0.0}}
    clip = {"clip_uid": "c", "predictions": [{"annotation_uid": "u", "query_sets": sets}]}
    whole = {"version": "1", "challenge": "x", "results": {"videos": [{"video_uid": "v", "clips": [clip]}]}}
    return Ready(as_file(folder, "predictions.json", load_predictions), [document(whole)])


def supermemory(folder: Path) -> Ready:
    """Questions of SuperMemory-VQA."""
    from vidmem.evaluation.supermemory_files import load_questions

    span = {"start_time": 3.5, "end_time": 9, "video_id": "v1", "video_start_time_unix": 1_700_000_000}
    clock = {"start_time": "00:01:02", "end_time": "00:01:05.5"}
    one = {
        "question_id": 1, "question": "Where is the cup?", "choices": ["a", "b", "c", "d"], "correct_option_index": 0,
        "is_answerable": True, "subject": 2, "video_ids": ["v1", "v2"], "question_evidence": {"time_spans": [span]},
        "metadata": {"skill": "object", "primary_video_id": "v1", "primary_video_start_time": 1_700_000_000},
        "answer_evidence": {"evidence_list": [
            {"video_id": "v1", "start_time": 1_700_000_000, "time_span": clock, "modalities": ["Video"]}]},
    }  # fmt: skip
    timed = {"time_span": clock, "video_id": "v2", "start_time": 1_700_000_100}
    other = {**one, "question_id": 2, "is_answerable": False, "question_evidence": timed, "answer_evidence": None}
    return Ready(as_file(folder, "all_qa.json", load_questions), [document([one, other])])


def journal(folder: Path) -> Ready:
    """The journal of a benchmark that was interrupted."""
    from vidmem.evaluation.journal import Journal

    def run(data: bytes) -> None:
        with suppress(FileNotFoundError):
            name.unlink()
        name.write_bytes(data)
        with Journal(folder, {"encoder": "tiny", "split": "val"}) as found:
            found.add("c", 1)

    with Journal(folder, {"encoder": "tiny", "split": "val"}) as first:
        first.add("a", [1, 2])
        first.add("b", {}, "hash")
        name = first.path
    whole = name.read_bytes()
    return Ready(run, [whole, whole[:-5]])


TARGETS = [
    Target(
        "open-images", points, text([",", "\n", '"', "yes", "no", "unsure", "ImageId", "X", "\r", "nan", "1e400"]), 0.6
    ),
    Target("reasonseg", reasonseg, json_tree(["text", "shapes", "label", "points", "is_sentence"]), 0.6),
    Target(
        "context-labels",
        context,
        binary([b"LabelMap", b"\x0e\0\0\0", b"\x0f\0\0\0", b"MATLAB 5.0"]),
        0.4,
        needs=("scipy",),
    ),
    Target("class-names", class_names, text(["\t", "\n", "cup", "\x85", "-"]), 0.4),
    Target("label-pictures", label_pictures, binary([b"IHDR", b"IDAT", b"PLTE", b"IEND"]), 0.4),
    Target("vspw-list", vspw_list, text(["\n", "..", "/", "walk", "\x00"]), 0.4),
    Target("vq2d-predictions", vq2d_predictions, json_tree(["bboxes", "fno", "query_sets", "score", "clips"]), 0.6),
    Target("supermemory", supermemory, json_tree(["time_spans", "time_span", "video_id", "evidence_list"]), 0.6),
    Target("journal", journal, text(["\n", '{"settings":', '{"key":"a","result":', "}", "[", '"']), 0.4),
]
