"""From pictures and boxes to visual tokens."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from encoders import fake
from encoders.fake import COLOURS, DV, GREY, NAMES, ColourEncoder
from PIL import Image
from store.making import MODEL, add, frame, info, track

from vidmem.errors import MediaError, UsageError
from vidmem.geometry import mask_boxes
from vidmem.query.picture import (
    CANVAS,
    _best_region,
    _lay,
    _token,
    crop_token,
    crop_track,
    load_picture,
    picture_token,
)
from vidmem.records import Box, FrameRegions, RegionTokens, SourceKind
from vidmem.store import Store, VectorCache
from vidmem.timecode import NS

GOLDEN = Path(__file__).parents[1] / "golden" / "tren"


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that says it is so large and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "p.png"
    Image.new("L", (6, 4), 255).convert(mode).save(path)
    picture = load_picture(path)
    assert (picture.mode, picture.size) == ("RGB", (6, 4))
    assert picture.getpixel((3, 2)) == (255, 255, 255)


def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)).save(path)
    assert np.asarray(load_picture(path))[0, :, 0].tolist() == [0, 127, 255]


def test_transparent_parts_become_grey(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    picture.putpixel((1, 1), (255, 0, 0, 255))
    picture.save(tmp_path / "p.png")
    loaded = load_picture(tmp_path / "p.png")
    assert loaded.getpixel((0, 0)) == (128, 128, 128)
    assert loaded.getpixel((1, 1)) == (255, 0, 0)


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "p.jpg", exif=exif)
    assert load_picture(tmp_path / "p.jpg").size == (4, 8)


def test_a_missing_picture_fails(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=rf"no such picture; check the path: {tmp_path}/no\.png"):
        load_picture(tmp_path / "no.png")


@pytest.mark.parametrize("data", [b"", b"just text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_fails(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.png").write_bytes(data)
    with pytest.raises(MediaError, match=r"the picture cannot be read \(.*p\.png"):
        load_picture(tmp_path / "p.png")


def test_a_folder_or_a_cut_off_picture_fails(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(data[: len(data) // 2])
    for path in (tmp_path, tmp_path / "p.png"):
        with pytest.raises(MediaError, match="cannot be read"):
            load_picture(path)


@pytest.mark.parametrize("side", [50_000, 10_000])
def test_a_bomb_fails_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    path = png_header(tmp_path / "bomb.png", side, side)
    with pytest.raises(MediaError, match=r"far too large; scale it down first|would take [\d,]+ MB of memory"):
        load_picture(path)


@pytest.mark.parametrize("size", [(160, 96), (96, 160), (40, 300), (300, 40), (12, 12), (1600, 1200)])
@pytest.mark.parametrize("name", ["red", "cyan"])
def test_a_tight_crop_gives_the_token_of_the_thing(name: str, size: tuple[int, int]) -> None:
    encoder = ColourEncoder()
    token = picture_token(encoder, Image.new("RGB", size, COLOURS[name]))
    assert token.shape == (DV,)
    assert token.dtype == np.float32
    assert np.linalg.norm(token) == pytest.approx(1, abs=1e-5)
    assert token.argmax() == NAMES.index(name)
    assert encoder.calls == [2]


def test_the_thing_is_chosen_and_not_its_background() -> None:
    picture = Image.new("RGB", (120, 120), COLOURS["blue"])
    picture.paste(COLOURS["red"], (30, 30, 90, 90))
    assert picture_token(ColourEncoder(), picture).argmax() == NAMES.index("red")


def test_a_thing_seen_in_parts_is_the_mean_of_them_by_area() -> None:
    box = (0.0, 0.0, CANVAS[0] / 2, CANVAS[1])  # the left half of the canvas, 8 x 8 of 16 x 8 cells
    masks = np.zeros((4, 8, 16), np.float32)
    masks[0, :, :6], masks[1, :, 6:8] = 1, 1  # two parts in the picture
    masks[2], masks[3, :, 8:] = 1, 1  # everything, and what lies beside the picture
    regions = RegionTokens(
        np.diag([1, 5, 1, 1]).astype(np.float32),
        np.eye(4, dtype=np.float32),
        masks,
        np.zeros((4, 2), np.float32),
        mask_boxes(masks, *CANVAS),
        masks.mean((1, 2)),
    )
    token = _token(regions, box)
    np.testing.assert_allclose(token / token.sum(), [0.75, 0.25, 0, 0], atol=1e-6)
    alone = regions.take(np.array([2, 3]))
    assert _token(alone, box).tolist() == [0, 0, 1, 0]  # nothing is inside: what covers the middle


def test_a_region_belongs_to_the_picture_with_more_than_three_quarters() -> None:
    masks = np.zeros((3, 8, 16), np.float32)
    masks[0, 0, 5:9], masks[1, 1, 4:9], masks[2, 2, :8] = 1, 0.51, 0.5  # 3 of 4 cells, 4 of 5, and too faint
    regions = RegionTokens(
        np.diag([2, 3, 4]).astype(np.float32),
        np.eye(3, dtype=np.float32),
        masks,
        np.zeros((3, 2), np.float32),
        mask_boxes(masks, *CANVAS),
        masks.mean((1, 2)),
    )
    assert _token(regions, (0.0, 0.0, CANVAS[0] / 2, CANVAS[1])).tolist() == [0, 5, 0]


def test_a_picture_is_laid_in_its_heights_on_the_colour_of_its_rim() -> None:
    picture = Image.new("RGB", (40, 20), (10, 200, 30))
    picture.paste((250, 0, 0), (1, 1, 39, 19))
    canvas, boxes = _lay(picture, [100, 200])
    assert canvas.size == CANVAS
    # At most 1.6 times the height wide, so that both are lower than their heights.
    assert boxes == [(267, 320, 427, 400), (693, 280, 1013, 440)]
    pixels = np.asarray(canvas)
    assert pixels[0, 0].tolist() == pixels[360, 266].tolist() == pixels[360, 427].tolist() == [10, 200, 30]
    assert pixels[360, 350].tolist() == pixels[360, 850].tolist() == [250, 0, 0]
    assert pixels[319, 350].tolist() == pixels[400, 350].tolist() == [10, 200, 30]
    _, (high,) = _lay(Image.new("RGB", (30, 60)), [180])
    assert high == (595, 270, 685, 450)
    _, (thin,) = _lay(Image.new("RGB", (1, 100)), [100])
    assert thin == (636, 310, 644, 410)  # at least 8 pixels
    _, (flat,) = _lay(Image.new("RGB", (100, 1)), [100])
    assert flat == (560, 356, 720, 364)


def test_the_rim_is_the_median_of_all_four_sides() -> None:
    picture = Image.new("RGB", (30, 30), (0, 0, 0))
    for side in ((0, 0, 30, 1), (0, 29, 30, 30), (0, 0, 1, 30)):
        picture.paste((90, 80, 70), side)
    canvas, _ = _lay(picture, [100])
    assert canvas.getpixel((0, 0)) == (90, 80, 70)
    picture.paste((0, 0, 0), (0, 29, 30, 30))
    picture.paste((0, 0, 0), (0, 0, 30, 1))
    assert _lay(picture, [100])[0].getpixel((0, 0)) == (0, 0, 0)


def test_the_best_region_covers_the_middle_and_leaves_the_rim_free() -> None:
    """On a canvas of 16 x 8 cells of 80 x 90 pixels, a box of 4 x 4 cells; its middle is 2 x 2, its rim one cell."""
    box = (320.0, 180.0, 640.0, 540.0)
    masks = np.zeros((5, 8, 16), np.float32)
    masks[0, 3:5, 5:7] = 1  # the middle: 1 + 4 of 16
    masks[1, 2:6, 4:8] = 1  # the box: 1 + 1
    masks[2, 1:7, 3:9] = 1  # the rim too: 1 - 1 + 16 of 36
    masks[3, 2:6, 4:8] = 0.5  # too faint
    masks[4, 2:6, 4:7] = 1  # three quarters: 1 + 12 of 16
    for rows, best in (([2, 0, 3], 1), ([3, 2], 1), ([0, 4, 1], 2), ([1, 1], 0), ([0, 4], 1), ([2, 3, 0], 2)):
        assert _best_region(masks[rows], box) == best


def test_a_region_that_spills_does_not_win_by_one_cell_more() -> None:
    box = (320.0, 180.0, 640.0, 540.0)
    masks = np.zeros((2, 8, 16), np.float32)
    masks[:, 3:5, 5:7] = 1  # the middle
    masks[1, 3, 4] = 1
    masks[1, 1:7, 3], masks[1, 1, 3:7] = 1, 1  # and a part of the rim
    assert _best_region(masks, box) == 0
    assert _best_region(masks[::-1], box) == 1


def test_every_size_and_place_counts_the_same() -> None:
    class Marks(ColourEncoder):
        """One region over all, whose token is along the axis of the place."""

        def encode(self, images: list[np.ndarray], width: int, height: int) -> list[RegionTokens]:
            assert (len(images), width, height) == (2, *CANVAS)
            ones = [np.eye(DV, dtype=np.float32)[k : k + 1] * (k + 1) for k in range(2)]
            mask, area = np.ones((1, 4, 4), np.float32), np.ones(1, np.float32)
            boxes = np.array([[0, 0, *CANVAS]], np.float32)
            return [RegionTokens(one, one[:, :6], mask, boxes[:, :2], boxes, area) for one in ones]

    token = picture_token(Marks(), Image.new("RGB", (64, 64), COLOURS["red"]))
    assert token.dtype == np.float32
    np.testing.assert_allclose(token[:2], [0.5**0.5] * 2, atol=1e-6)


def test_an_encoder_with_views_looks_at_the_picture_itself() -> None:
    encoder = fake.LookingEncoder()
    looker = encoder.views
    assert isinstance(looker, fake.ColourViews)
    picture = Image.new("RGB", (200, 100), COLOURS["blue"])
    token = picture_token(encoder, picture)
    (view,) = looker.told
    assert (view.box, view.frame_size, view.image.shape[1]) == ((0, 0, 200, 100), (200, 100), looker.view_pixels)
    assert (token.argmax(), token.dtype, encoder.calls) == (NAMES.index("blue"), np.float32, [])


def test_a_picture_of_nothing_fails() -> None:
    with pytest.raises(UsageError, match="no region stands out in the picture; crop it closer"):
        picture_token(ColourEncoder(), Image.new("RGB", (80, 80), GREY))


def test_the_canvas_is_shown_in_the_encoders_size(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = ColourEncoder()
    shapes: list[tuple[int, ...]] = []
    whole = encoder.encode
    monkeypatch.setattr(encoder, "working_size", lambda w, h: (w // 2, h // 2))

    def encode(images: list[np.ndarray], w: int, h: int) -> list[RegionTokens]:
        shapes.append((*images[0].shape, w, h))
        return whole(images, w, h)

    monkeypatch.setattr(encoder, "encode", encode)
    picture_token(encoder, Image.new("RGB", (64, 64), COLOURS["red"]))
    assert shapes == [(360, 640, 3, *CANVAS)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def fill(store: Store) -> int:
    """Two frames, at 1 s and 3 s, of a 1280x720 video: track 4 left and 7 right, later the other way round, and a
    frame of nothing at 5 s. Another source comes first."""
    add(store, store.begin_source(info("other.mp4", "other")).id, [track(i) for i in range(9)])
    row = store.begin_source(info())
    masks = np.zeros((2, 9, 16), bool)
    masks[0, 2:6, 1:5], masks[1, 2:6, 10:14] = True, True
    boxes = mask_boxes(masks.astype(np.float32), 1280, 720)
    frames = [
        FrameRegions(NS, np.array([4, 7]), boxes, masks),
        FrameRegions(3 * NS, np.array([7, 4]), boxes, masks),
        FrameRegions(5 * NS, np.empty(0, np.int64), boxes[:0], masks[:0]),
    ]
    add(store, row.id, [track(i) for i in range(9)], frames)
    return row.id


@pytest.mark.parametrize(
    ("t_s", "box", "ordinal"),
    [
        (1, (80, 160, 400, 480), 4),
        (1, (800, 160, 1120, 480), 7),
        (1.9, (90, 150, 380, 500), 4),
        (2.1, (90, 150, 380, 500), 7),
        (0.2, (150, 200, 300, 300), 4),
        (3.5, (-50, 100, 500, 500), 7),
    ],
)
def test_crop_gives_the_track_in_the_box(store: Store, t_s: float, box: Box, ordinal: int) -> None:
    id_ = fill(store)
    cache = VectorCache(store)
    row = crop_track(store, cache, store.source_by_id(id_), int(t_s * NS), box)
    assert (cache.columns.source_ids[row], cache.columns.ordinals[row]) == (id_, ordinal)


@pytest.mark.parametrize(
    ("t_s", "box", "message"),
    [
        (8, (80, 160, 400, 480), r"nothing was indexed within a second of 8 s in /videos/walk\.mp4"),
        (1, (500, 600, 600, 700), "no region was found in that box at 1 s; draw it around one thing"),
        (1, (2000, 2000, 2100, 2100), "no region was found in that box"),
        (5, (80, 160, 400, 480), "no region was found in that box at 5 s"),
    ],
)
def test_crop_of_nothing_fails(store: Store, t_s: float, box: Box, message: str) -> None:
    id_ = fill(store)
    with pytest.raises(UsageError, match=message):
        crop_track(store, VectorCache(store), store.source_by_id(id_), int(t_s * NS), box)


def test_the_nearest_frame_within_a_second_counts(store: Store) -> None:
    source = store.source_by_id(fill(store))
    cache = VectorCache(store)
    box = (80, 160, 400, 480)
    for t_ns, ordinal in ((0, 4), (2 * NS - 1, 4), (2 * NS + 1, 7), (2 * NS, 4)):
        assert cache.columns.ordinals[crop_track(store, cache, source, t_ns, box)] == ordinal
    with pytest.raises(UsageError, match=r"within a second of 6\.5 s"):
        crop_track(store, cache, source, 6 * NS + NS // 2, box)


def test_of_two_frames_within_a_second_the_nearer_counts(store: Store) -> None:
    row = store.begin_source(info())
    boxes, masks = np.array([[0, 0, 1280, 720]], np.float32), np.ones((1, 9, 16), bool)
    frames = [FrameRegions(t * NS // 10, np.array([i]), boxes, masks) for i, t in enumerate((10, 18))]
    add(store, row.id, [track(0), track(1)], frames)
    cache, source = VectorCache(store), store.source_by_id(row.id)
    for tenths, ordinal in ((13, 0), (15, 1), (19, 1), (9, 0)):
        found = crop_track(store, cache, source, tenths * NS // 10, (0, 0, 1280, 720))
        assert cache.columns.ordinals[found] == ordinal


def test_what_hardly_touches_a_region_is_not_it(store: Store) -> None:
    """A region of 4 x 4 cells of 80 x 80 pixels; the box shares a strip with it."""
    source = store.source_by_id(fill(store))
    cache = VectorCache(store)
    for wide, found in ((20, True), (4, False)):
        box = (400.0 - wide, 160.0, 720.0 - wide, 480.0)
        if found:
            assert cache.columns.ordinals[crop_track(store, cache, source, NS, box)] == 4
        else:
            with pytest.raises(UsageError, match="no region was found in that box at 1 s"):
                crop_track(store, cache, source, NS, box)


def test_the_token_of_a_crop_is_that_of_its_track(store: Store) -> None:
    fill(store)
    cache = VectorCache(store)
    box = (800.0, 160.0, 1120.0, 480.0)
    for t_ns, ordinal in ((NS, 7), (3 * NS, 4)):
        token = crop_token(store, cache, "walk.mp4", t_ns, box)
        expected = track(ordinal).visual
        assert token.shape == (24,)
        np.testing.assert_allclose(token, expected / np.linalg.norm(expected), atol=2e-3)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((80, 160, 80, 480), "the crop's box is empty"),
        ((80, 160, 400, 160), "the crop's box is empty"),
        ((-1, 160, 400, 480), "reaches beyond the frame, which has 1280 x 720 pixels"),
        ((80, -1, 400, 480), "reaches beyond the frame"),
        ((80, 160, 1281, 480), "reaches beyond the frame"),
        ((80, 160, 400, 721), "reaches beyond the frame"),
    ],
)
def test_a_box_outside_of_the_frame_fails(store: Store, box: Box, message: str) -> None:
    fill(store)
    with pytest.raises(UsageError, match=message):
        crop_token(store, VectorCache(store), "walk.mp4", NS, box)
    assert crop_token(store, VectorCache(store), "walk.mp4", NS, (0, 0, 1280, 720)).shape == (24,)


def test_the_time_of_a_crop_may_be_by_the_clock_of_a_log(store: Store) -> None:
    masks = np.ones((1, 9, 16), bool)
    boxes = np.array([[0, 0, 1280, 720]], np.float32)
    frames = [FrameRegions(0, np.array([0]), boxes, masks), FrameRegions(9 * NS, np.array([1]), boxes, masks)]
    for name, kind in (("a.mcap", SourceKind.LOG), ("b.mp4", SourceKind.VIDEO)):
        row = store.begin_source(replace(info(name, name), kind=kind, start_ns=100 * NS))
        add(store, row.id, [track(0), track(1)], frames)
    photos = store.begin_source(replace(info("photos", "p"), kind=SourceKind.PICTURES))
    add(store, photos.id, [track(0)], frames[:1])
    cache, box = VectorCache(store), (10.0, 10.0, 1270.0, 710.0)
    tokens = [track(i).visual / np.linalg.norm(track(i).visual) for i in (0, 1)]
    for t_ns, which in ((0, 0), (9 * NS, 1), (100 * NS, 0), (109 * NS, 1)):
        np.testing.assert_allclose(crop_token(store, cache, "a.mcap", t_ns, box), tokens[which], atol=2e-3)
    with pytest.raises(UsageError, match="nothing was indexed within a second of 109 s"):
        crop_token(store, cache, "b.mp4", 109 * NS, box)
    with pytest.raises(UsageError, match="there is no photo at that time"):
        crop_token(store, cache, "photos", 0, box)


def test_crop_survives_other_regions(store: Store) -> None:
    row = store.begin_source(info())
    add(store, row.id, [track(i) for i in range(6)], [frame(NS, [0, 1, 2, 3, 4, 5])])
    box = tuple(float(v) for v in (100, 100, 500, 400))
    found = crop_track(store, VectorCache(store), store.source_by_id(row.id), NS, box)  # type: ignore[arg-type]
    assert 0 <= found < 6


def test_the_rules_of_a_crop_differ_for_a_bent_thing(store: Store) -> None:
    """A frame around a picture has the picture's box, but holds other cells."""
    row = store.begin_source(info())
    masks = np.zeros((2, 9, 16), bool)
    masks[0, 1:8, 2:12], masks[0, 2:7, 3:11] = True, False
    masks[1, 1:8, 2:11] = True
    boxes = mask_boxes(masks.astype(np.float32), 1280, 720)
    add(store, row.id, [track(0), track(1)], [FrameRegions(0, np.arange(2), boxes, masks)])
    cache, source = VectorCache(store), store.source_by_id(row.id)
    box = (180, 90, 940, 630)
    assert crop_track(store, cache, source, 0, box, rule="paper") == 0
    assert crop_track(store, cache, source, 0, box) == 1


@pytest.mark.golden
@pytest.mark.parametrize("rule", ["default", "paper"])
def test_crop_equals_the_authors(store: Store, rule: Literal["default", "paper"]) -> None:
    """Which region a box means. Ours goes by the stored cells and the box together, theirs by the box of the mask
    enlarged to pixels: the choice is the same, the boxes themselves are not compared."""
    with np.load(GOLDEN / "crop_region.npz", allow_pickle=False) as file:
        golden = dict(file)
    height, width = golden["frame_resolution"].tolist()
    masks = golden["masks"]
    held = masks > 0.5 * masks.max((1, 2), keepdims=True)
    row = store.begin_source(
        type(info())("/v/g.mp4", "video", width, height, NS, "golden")  # the authors' frame
    )
    ordinals = np.arange(len(masks))
    regions = FrameRegions(0, ordinals, mask_boxes(masks, width, height), held)
    add(store, row.id, [track(int(i)) for i in ordinals], [regions])
    cache = VectorCache(store)
    found = [
        int(
            cache.columns.ordinals[
                crop_track(store, cache, store.source_by_id(row.id), 0, (x, y, x + w, y + h), rule=rule)
            ]
        )
        for x, y, w, h in golden["boxes_xywh"].tolist()
    ]
    assert found == golden["best_index"].tolist()


def test_fake_pictures_are_what_the_encoder_knows() -> None:
    (regions,) = ColourEncoder().encode([fake.picture({"red": (0, 0), "blue": (64, 32)})], 160, 96)
    assert [NAMES[i] for i in regions.visual.argmax(1)] == ["red", "red", "blue", "blue"]
    assert regions.boxes[2].tolist() == [64, 32, 96, 64]
