"""`vidmem eval points`: points that people marked as on a thing or off it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ...errors import MediaError, UsageError
from ..options import DeviceOption, WeightsOption
from ..output import Show, listing
from .common import EncoderOption, LimitOption, OutOption, conclude, encoder_settings, load_encoder, of_all, run
from .segmenting import FeaturesOption, MasksOption, TemplatesOption, merge_of


@listing
def points(
    labels: Annotated[
        str,
        typer.Argument(
            metavar="POINTS",
            help="Point labels, such as oidv7-val-annotations-point-labels.csv.",
            show_default=False,
        ),
    ],
    descriptions: Annotated[
        str,
        typer.Argument(metavar="NAMES", help="Names of the classes, oidv7-class-descriptions.csv.", show_default=False),
    ],
    images: Annotated[
        str, typer.Argument(metavar="IMAGES", help="Folder of the pictures, ImageId.jpg.", show_default=False)
    ],
    features: FeaturesOption = None,
    templates: TemplatesOption = False,
    short: Annotated[
        int | None,
        typer.Option(
            "--short",
            metavar="PIXELS",
            min=16,
            help="For patches: scale the shorter side to this, as GEM does with 448. Default: the encoder's own size.",
        ),
    ] = None,
    *,
    out: OutOption,
    limit: LimitOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    device: DeviceOption = None,
    show: Show,
) -> int:
    """Tell points on a thing from points off it.

    Reads the point labels of OpenImages V7 as they are shipped. For each class that is in a picture, a heat map is
    scaled to [0, 1], and points where it is at least .5 count as on the thing, as in GEM (arXiv 2312.00878, Table 3).

    \b
    Examples:
      vidmem eval points points.csv names.csv validation --encoder gem --out run
    """
    from ...evaluation.journal import Journal
    from ...evaluation.open_images import PointFile, read_descriptions
    from ...evaluation.parsed_pictures import FEATURES, best_features
    from ...evaluation.point_run import gathered, heat_maps, picture_points
    from ...evaluation.point_table import point_table
    from ...evaluation.readable import read_classes, unknown_note
    from ...evaluation.run import sha256

    if features is not None and features not in FEATURES:
        raise UsageError(f"--features is one of {', '.join(FEATURES)}; got {features[:40]!r}")
    names = read_descriptions(descriptions)
    file = PointFile(labels, images)
    chosen = file.images[:limit]
    found = load_encoder(encoder, device, weights, masks)
    ids = [each for each in file.classes if each in names]
    if not ids:
        raise MediaError(f"the file names no class of the points; fetch both files again: {descriptions}")
    given = [names[each] for each in ids]
    classes = read_classes(found, given, given, templates=templates, distinct=False)
    vectors = {ids[row]: vector for row, vector in zip(classes.rows.tolist(), classes.vectors, strict=True)}
    unknown = [*classes.unknown, *(each for each in file.classes if each not in names)]
    used = features if features is not None else best_features(found)
    settings = {
        "benchmark": "points",
        "points": sha256(labels),
        "names": sha256(descriptions),
        "features": used,
        "short": short if used == "patches" else None,
        "templates": templates and found.has_templates,
        "masks": masks,
        **encoder_settings(found),
    }
    heats = heat_maps(found, used, merge=merge_of(encoder), short=short)

    def work(image: str) -> object:
        return picture_points(file.picture(image), vectors, heats)

    with Journal(out, settings) as journal:
        outcome = run(journal, chosen, lambda image: image, work, "picture", lambda image: [file.picture(image).path])
    if not outcome.results:
        raise MediaError(next(iter(outcome.skipped.values())))
    score = gathered(outcome.results.values())
    title = f"OpenImages V7 points, {of_all(chosen, file.images, 'picture')}"
    notes = [f"features: {used}", *unknown_note(unknown, len(file.classes), found.info.name)]
    document = {"features": used, "unknown": unknown, **asdict(score)}
    table = point_table(title, f"{found.info.name}, {used}", score, notes)
    return conclude(out, document, [table], outcome, "picture", show)
