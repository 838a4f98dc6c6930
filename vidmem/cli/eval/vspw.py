"""`vidmem eval vspw`: a class for each pixel of the frames of videos, from tracks."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from itertools import chain
from typing import Annotated

import typer

from ...errors import MediaError, UsageError
from .. import completion
from ..options import DeviceOption, WeightsOption
from ..output import Show, listing
from .common import EncoderOption, LimitOption, OutOption, conclude, encoder_settings, load_encoder, of_all, run
from .segmenting import FeaturesOption, MasksOption, NamesOption, TemplatesOption, fingerprint, merge_of

WAYS = ("track", "vote", "frame")


@listing
def vspw(
    root: Annotated[
        str, typer.Argument(metavar="FOLDER", help="The data set: data/ and the lists of videos.", show_default=False)
    ],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="List of videos, NAME.txt.")] = "val",
    way: Annotated[
        str,
        typer.Option(
            "--way",
            metavar="track|vote|frame",
            help="Label each region by its track, as in the T-REN paper, each pixel by the votes of its regions, as in "
            "the paper's code, or each frame by itself, without tracks.",
            autocompletion=completion.choices(*WAYS),
        ),
    ] = "track",
    features: FeaturesOption = None,
    names: NamesOption = None,
    templates: TemplatesOption = True,
    *,
    out: OutOption,
    limit: LimitOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    device: DeviceOption = None,
    show: Show,
) -> int:
    """Name every pixel of the frames of videos.

    Indexes each video of VSPW like any other film, labels its tracks, and compares every frame with its mask: the mIoU
    of 124 classes, and the video consistency over 8 and 16 frames. The table has the numbers of T-REN (arXiv
    2604.18573, Table 3).

    \b
    Examples:
      vidmem eval vspw VSPW_480p --encoder tren --out run
      vidmem eval vspw VSPW_480p --way frame --out frames
    """
    from ...config import preset
    from ...encoders import DEFAULT, find
    from ...evaluation.journal import Journal
    from ...evaluation.ovss import Windows
    from ...evaluation.ovss_names import read_names
    from ...evaluation.parsed_pictures import FEATURES, best_features, picture_parser
    from ...evaluation.readable import read_classes, unknown_note
    from ...evaluation.vspw import Video, read_vspw, video_counts
    from ...evaluation.vspw_scenes import frame_by_frame, from_memory
    from ...evaluation.vspw_table import document, vspw_score, vspw_table
    from ...memory import Memory
    from ...query.labels import BUILT_IN

    if way not in WAYS:
        raise UsageError(f"--way is one of {', '.join(WAYS)}; got {way[:40]!r}")
    if features is not None and (way != "frame" or features not in FEATURES):
        raise UsageError(f"--features is one of {', '.join(FEATURES)}, with --way frame; tracks are made of regions")
    videos = read_vspw(root, split)
    chosen = videos[:limit]
    own = BUILT_IN["vspw"].names
    words = own if names is None else read_names(names, len(own))[1]
    found = load_encoder(encoder, device, weights, masks)
    classes = read_classes(found, own, words, templates=templates)
    spec = encoder or DEFAULT
    config = preset(find(spec).preset)
    used = "regions" if way != "frame" else features or best_features(found)
    settings = {
        "benchmark": "vspw",
        "split": split,
        "videos": fingerprint([video.name for video in videos]),
        "words": fingerprint(words),
        "way": way,
        "features": used,
        "templates": templates and found.has_templates,
        "masks": masks,
        "config": config.as_dict(),
        **encoder_settings(found),
    }
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(out, settings))
        if way == "frame":
            windows = Windows(512)
            scenes = frame_by_frame(picture_parser(found, classes, used, windows=windows, merge=merge_of(encoder)))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vidmem-eval-"))
            memory = stack.enter_context(
                Memory.open(f"{folder}/memory", encoder=spec, device=device, weights=weights, masks=masks)
            )
            memory.query.use(found)
            scenes = from_memory(memory, classes, "vote" if way == "vote" else "track", config)

        def work(video: Video) -> object:
            return video_counts(video, scenes)

        outcome = run(journal, chosen, lambda video: video.name, work, "video", lambda video: chain(*video.frames()))
    if not outcome.results:
        raise MediaError(next(iter(outcome.skipped.values())))
    score = vspw_score(outcome.results.values())
    ways = {"track": "class of each track", "vote": "votes of regions", "frame": "each frame by itself"}
    notes = [f"features: {used}; {ways[way]}", *unknown_note(classes.unknown, len(classes), found.info.name)]
    if score.compression is not None:
        notes.append("Compression is the number of patches of a frame at 512 x 512 pixels, 1,024, by tokens of tracks.")
    title = f"VSPW {split}, {of_all(chosen, videos, 'video')}"
    full = {"split": split, "way": way, "features": used, "unknown": list(classes.unknown), **document(score)}
    return conclude(out, full, [vspw_table(title, f"{found.info.name}, {way}", score, notes)], outcome, "video", show)
