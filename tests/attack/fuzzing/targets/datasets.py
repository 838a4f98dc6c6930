"""Annotation files of data sets: COCO, panoptic, RefCOCO, VSPW, VQ2D, Visual Haystacks, conversations."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from vidmem.errors import MediaError

from ..mutate import binary, either, json_tree, text
from ..target import Broken, Ready, Target
from .texts import as_file, seeds, told

COCO: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 20, "height": 16},
        {"id": 2, "file_name": "b.png", "width": 8, "height": 8},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 7, "iscrowd": 0, "bbox": [1, 1, 9, 9], "area": 81,
         "segmentation": [[1, 1, 10, 1, 10, 10, 1, 10]], "caption": "the left cup"},
        {"id": 2, "image_id": 1, "category_id": 9, "iscrowd": 1, 
         "segmentation": {"size": [16, 20], "counts": [20, 30, 270]}},
        {"id": 3, "image_id": 2, "category_id": 9, "segmentation": {"size": [8, 8], "counts": "8d0T1"}},
        {"id": 4, "image_id": 2, "category_id": 7, "segmentation": {"size": [8, 8], "counts": [64]}},
    ],
    "categories": [{"id": 7, "name": "cup"}, {"id": 9, "name": "dog", "supercategory": "animal"}],
}  # fmt: skip
FIELDS = [
    "id", "image_id", "category_id", "segmentation", "counts", "size", "iscrowd", "bbox", "area", "file_name", "width",
    "height", "name", "images", "annotations", "categories", "caption", "sentences", "ann_id", "split", "captions",
]  # fmt: skip


def _pictures(folder: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((16, 20, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "b.png")


def document(value: Any) -> bytes:
    return json.dumps(value).encode()


def coco(folder: Path) -> Ready:
    """Annotations in COCO's JSON, with their masks, strictly and with bad entries left out."""
    from vidmem.export.coco import Coco

    _pictures(folder)

    def read(path: Path) -> None:
        bad: list[str] = []
        for found in (Coco(path, bad=bad.append), Coco(path, crowd="keep")):
            for index in range(min(len(found), 5)):
                found[index]

    return Ready(as_file(folder, "coco.json", read), [document(COCO)])


def rle(_: Path) -> Ready:
    """Segmentations alone: polygons, run lengths, and compressed run lengths."""
    from vidmem.export.coco import decode_segmentation, segmentation_fault
    from vidmem.export.rle import segmentation, total

    def run(data: bytes) -> None:
        try:
            given = json.loads(data)
        except (ValueError, RecursionError):
            total(told(data))
            return
        for width, height in ((8, 8), (20, 16)):
            if segmentation_fault(given, width, height) is None:
                mask = decode_segmentation(given, width, height)
                again = segmentation(mask)
                if total(again["counts"]) != mask.size or (decode_segmentation(again, width, height) != mask).any():
                    raise Broken("a mask is not read back")

    made = [a["segmentation"] for a in COCO["annotations"]]
    deep = segmentation(np.random.default_rng(1).random((16, 20)) < 0.5)
    return Ready(run, [*map(document, [*made, deep]), *seeds("8d0T1", "0PPPP")])


def panoptic(folder: Path) -> Ready:
    """Panoptic annotations in COCO's JSON, with the PNG of the first picture."""
    from evaluation import panoptic_files

    from vidmem.evaluation.panoptic import read_panoptic, segment_masks

    first, second = panoptic_files.write(folder / "coco"), panoptic_files.write(folder / "ade", ade=True)
    labels = folder / "coco" / first.stem

    def read(path: Path) -> None:
        found = read_panoptic(path, folder / "coco", labels)
        _ = found.names, found.things
        for picture in found.pictures[:2]:
            segment_masks(picture)

    return Ready(as_file(folder, "panoptic.json", read), [first.read_bytes(), second.read_bytes()])


def panoptic_png(folder: Path) -> Ready:
    """The PNG with the segments of a panoptic picture."""
    from evaluation import panoptic_files

    from vidmem.evaluation.panoptic import read_panoptic, segment_masks

    file = panoptic_files.write(folder)
    (picture, other) = read_panoptic(file).pictures
    made = [one.labels.read_bytes() for one in (picture, other)]
    return Ready(as_file(folder, str(picture.labels.relative_to(folder)), lambda _: segment_masks(picture)), made)


def vspw(folder: Path) -> Ready:
    """VSPW's folders: the list of a split, and a label picture."""
    from PIL import Image

    from vidmem.export.labelled_images import from_vspw
    from vidmem.query.labels import BUILT_IN

    for part in ("origin", "mask"):
        (folder / "data" / "walk" / part).mkdir(parents=True)
    Image.fromarray(np.zeros((16, 20, 3), np.uint8)).save(folder / "data/walk/origin/00000000.jpg")
    mask = folder / "data/walk/mask/00000000.png"
    kept = io.BytesIO()
    Image.fromarray(np.tile(np.arange(20, dtype=np.uint8) * 12, (16, 1))).save(kept, "PNG")
    grey = io.BytesIO()
    Image.fromarray(np.full((16, 20), 9, np.uint8)).save(grey, "PNG")

    def run(data: bytes) -> None:
        is_picture = data[:4] == b"\x89PNG"
        (folder / "val.txt").write_bytes(b"walk\n" if is_picture else data)
        mask.write_bytes(data if is_picture else kept.getvalue())
        for image in from_vspw(folder, "val", BUILT_IN["vspw"], (4, 4)):
            _ = image.mask

    return Ready(run, [kept.getvalue(), grey.getvalue(), b"walk\n", b"walk walk\n\n", b"../data/walk\n"])


REFS = [
    {"ref_id": 1, "ann_id": 1, "image_id": 1, "split": "train", "category_id": 7, "file_name": "a_1.png",
     "sentences": [{"sent": "the left cup", "raw": "the left cup.", "tokens": ["the", "left", "cup"], "sent_id": 3}],
     "sent_ids": [3]},
    {"ref_id": 2, "ann_id": [1, 2], "image_id": 1, "split": "val", "sentences": [{"sent": "both"}, {"raw": "all"}]},
    {"ref_id": 3, "ann_id": -1, "image_id": 2, "split": "train", "sentences": ["nothing", "none"]},
]  # fmt: skip


def refcoco_json(folder: Path) -> Ready:
    """Referring expressions in JSON: a list beside COCO annotations, and COCO annotations with captions."""
    from vidmem.export.trainset.refcoco import read_refcoco

    _pictures(folder)
    (folder / "whole").mkdir()

    def run(data: bytes) -> None:
        bad: list[str] = []
        listed = data.lstrip()[:1] == b"["
        if listed:
            (folder / "instances.json").write_bytes(document(COCO))
            (folder / "grefs(unc).json").write_bytes(data)
            read_refcoco(folder, None, None, bad=bad.append)
            read_refcoco(folder, None, "train")
        else:
            path = folder / "whole" / "coco.json"
            path.write_bytes(data)
            read_refcoco(path, folder, bad=bad.append)
            read_refcoco(path, folder)

    return Ready(run, [document(REFS), document(COCO)])


def refcoco_pickle(folder: Path) -> Ready:
    """RefCOCO's pickles, read without running anything in them."""
    from vidmem.export.trainset.refcoco import read_refcoco

    (folder / "instances.json").write_bytes(document(COCO))

    def read(_: Path) -> None:
        bad: list[str] = []
        read_refcoco(folder, None, "train", bad=bad.append)

    made = [pickle.dumps(REFS, protocol) for protocol in range(6)]
    made.append(b"cos\nsystem\n(S'false'\ntR.")
    return Ready(as_file(folder, "refs(unc).p", read), made)


def pickled(rng: Random, given: Any) -> bytes:
    """A pickle of a list of expressions with parts changed."""
    from ..mutate import change_tree

    try:
        return pickle.dumps(change_tree(rng, json.loads(document(REFS)), FIELDS), rng.randrange(6))
    except (RecursionError, ValueError):
        return pickle.dumps(REFS)


def conversations(folder: Path) -> Ready:
    """Conversations in LLaVA's JSON, as a list and as lines."""
    from vidmem.export.trainset.chat import read_conversations

    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cup."}]
    entries = [{"id": "1", "image": "a.png", "conversations": turns}, {"conversations": turns * 2}]

    def run(data: bytes) -> None:
        bad: list[str] = []
        for name in ("chat.jsonl", "chat.json"):
            (folder / name).write_bytes(data)
            try:
                read_conversations(folder / name, None, bad.append)
            except MediaError as error:
                last = error
            else:
                return
        raise last

    lines = b"\n".join(map(document, entries))
    return Ready(run, [document(entries), lines])


def vq2d(folder: Path) -> Ready:
    """Annotations of Ego4D's visual queries."""
    from vidmem.evaluation.vq2d import asked_ns, crop_ns
    from vidmem.evaluation.vq2d_files import Response, load_annotations, queries
    from vidmem.evaluation.vq2d_metrics import official_metrics
    from vidmem.evaluation.vq2d_predictions import predictions

    box = {"x": 1.0, "y": 2.0, "width": 30.0, "height": 40.0, "original_width": 640, "original_height": 480}
    entry = {
        "is_valid": True, "query_frame": 20, "object_title": "cup", "query_video_frame": 120,
        "visual_crop": box | {"frame_number": 3, "video_frame_number": 93},
        "response_track": [box | {"frame_number": n, "rotation": 0} for n in (5, 6, 7)],
    }  # fmt: skip
    clip = {
        "clip_uid": "c", "clip_fps": 5.0,
        "annotations": [{"annotation_uid": "u", "query_sets": {"1": entry, "2": entry | {"is_valid": False}}}],
    }  # fmt: skip
    whole = {"version": "1", "description": "vq", "videos": [{"video_uid": "v", "split": "val", "clips": [clip]}]}

    def read(path: Path) -> None:
        found = load_annotations(path)
        asked = list(queries(found))
        for query in asked:
            query.crop.scaled(100, 100)
            assert max(asked_ns(query), crop_ns(query)) < 1 << 62
        if known := [query for query in asked if query.response]:
            official_metrics(known, {query.key: Response(0, ((0, 0, 9, 9),), 0.5) for query in known})
        predictions(found, {})

    return Ready(as_file(folder, "vq_val.json", read), [document(whole)])


def needles(folder: Path) -> Ready:
    """Question files of Visual Haystacks."""
    from vidmem.query.visual_haystacks import load_needles

    one = {
        "pos_image": ["a.jpg"], "neg_image": ["b.jpg", "c.jpg"], "needle": "cup", "target": "dog",
        "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "Yes."}],
    }  # fmt: skip
    return Ready(
        as_file(folder, "needles.json", lambda path: load_needles(str(path))),
        [document([one, one | {"pos_image": "a.jpg"}])],
    )


JSON = json_tree(FIELDS)
TARGETS = [
    Target("coco", coco, JSON, needs=("pycocotools",)),
    Target(
        "rle", rle, either(json_tree(["size", "counts"]), text("0123456789PQo`no")), needs=("pycocotools",), share=1.5
    ),
    Target("panoptic", panoptic, json_tree([*FIELDS, "segments_info", "isthing"])),
    Target("panoptic-png", panoptic_png, binary([b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"IEND", b"acTL"]), 0.7),
    Target("vspw", vspw, either(binary([b"\n", b"walk", b"..", b"/"]), text(["walk", "..", "/", "\n"])), 0.5),
    Target("refcoco-json", refcoco_json, JSON),
    Target(
        "refcoco-pickle", refcoco_pickle, either(binary([b"(", b"]", b"}", b"R", b"i", b"\x93", b"."]), pickled), 0.7
    ),
    Target("conversations", conversations, json_tree(["from", "value", "image", "conversations"])),
    Target("vq2d", vq2d, json_tree(["clips", "query_sets", "response_track", "visual_crop", "clip_fps"])),
    Target("needles", needles, json_tree(["pos_image", "neg_image", "needle", "target", "conversations"])),
]
