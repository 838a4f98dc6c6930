"""Names to label regions with: from a file, or the classes of VSPW, ADE20K or COCO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..text_files import read_text

MAX_LABELS = 5000
"""More names than this are a mistake: each is compared with every track."""
MAX_LENGTH = 200
"""The most characters of a name."""

# The classes of well-known data sets, in their own order: the index of a name is the number of its class. A star marks
# stuff; what can be counted is a thing. The data sets differ on that, and the marks here are our own.

_VSPW = """
wall*, ceiling*, door, stair*, ladder, escalator*, playground slide, handrail or fence*, window, rail*, goal,
pillar*, pole*, floor*, ground*, grass*, sand*, athletic field*, road*, path*, crosswalk*, building*, house*,
bridge*, tower*, windmill, well or well lid, other construction*, sky*, mountain*, stone*, wood*, ice*, snowfield*,
grandstand*, sea*, river*, lake*, waterfall*, water*, billboard or bulletin board, sculpture, pipeline*, flag,
parasol or umbrella, cushion or carpet*, tent, roadblock, car, bus, truck, bicycle, motorcycle, wheeled machine,
ship or boat, raft, airplane, tyre, traffic light, lamp, person, cat, dog, horse, cattle, other animal, tree*,
flower*, other plant*, toy, ball net*, backboard, skateboard, bat, ball, cupboard or showcase or storage rack, box,
traveling case or trolley case, basket, bag or package, trash can, cage, plate, tub or bowl or pot, bottle or cup,
barrel, fishbowl, bed, pillow, table or desk, chair or seat, bench, sofa, shelf, bathtub, gun, commode, roaster,
other machine, refrigerator, washing machine, microwave oven, fan, curtain*, textiles*, clothes*,
painting or poster, mirror, flower pot or vase, clock, book, tool, blackboard*, tissue*, screen or television,
computer, printer, mobile phone, keyboard, other electronic product, fruit*, food*, instrument, train
"""
"""The 124 classes of VSPW (Miao et al., CVPR 2021), underscores as spaces. In its masks 0 is unlabelled and class i is
i + 1."""

_ADE20K = """
wall*, building*, sky*, floor*, tree*, ceiling*, road*, bed, windowpane, grass*, cabinet, sidewalk*, person, earth*,
door, table, mountain*, plant*, curtain, chair, car, water*, painting, sofa, shelf, house*, sea*, mirror, rug*,
field*, armchair, seat, fence, desk, rock*, wardrobe, lamp, bathtub, railing, cushion, base*, box, column,
signboard, chest of drawers, counter, sand*, sink, skyscraper*, fireplace, refrigerator, grandstand*, path*, stairs,
runway*, case, pool table, pillow, screen door, stairway*, river*, bridge*, bookcase, blind, coffee table, toilet,
flower, book, hill*, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar*,
arcade machine, hovel*, bus, towel, light, truck, tower*, chandelier, awning, streetlight, booth,
television receiver, airplane, dirt track*, apparel, pole, land*, bannister*, escalator*, ottoman, bottle, buffet*,
poster, stage*, van, ship, fountain, conveyer belt*, canopy*, washer, plaything, swimming pool*, stool, barrel,
basket, waterfall*, tent*, bag, minibike, cradle, oven, ball, food*, step*, tank, trade name*, microwave, pot,
animal, bicycle, lake*, dishwasher, screen, blanket*, sculpture, hood, sconce, vase, traffic light, tray, ashcan,
fan, pier*, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""
"""The 150 classes of the scene parsing benchmark (Zhou et al., CVPR 2017), the first of the names of each."""

_COCO = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors,
teddy bear, hair drier, toothbrush
"""
"""The 80 things of COCO (Lin et al., ECCV 2014). The numbers in its files have gaps, these have none."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelSet:
    """names: distinct, as they are shown. things `(n,)` bool: True for what can be counted, False for stuff (sky,
    grass); True where a file does not say."""

    names: tuple[str, ...]
    things: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)


def _built_in(text: str) -> LabelSet:
    marked = [name.strip() for name in text.split(",")]
    names = tuple(name.removesuffix("*") for name in marked)
    return LabelSet(names, np.array([not name.endswith("*") for name in marked], bool))


BUILT_IN = {"vspw": _built_in(_VSPW), "ade20k": _built_in(_ADE20K), "coco": _built_in(_COCO)}
"""The built-in lists by name."""


def load_labels(spec: str) -> LabelSet:
    """The labels of a built-in list (vspw, ade20k, coco) or of a text file.

    A file has one name a line, and after a tab `thing` or `stuff` if that matters. Lines that begin with "#" are
    ignored.

    Raises:
        UsageError: there are no names or too many, or one is there twice or too long.
        MediaError: the file cannot be read.
    """
    if spec in BUILT_IN:
        return BUILT_IN[spec]
    text = read_text(spec, "the labels cannot", remedy=f"give a text file or {', '.join(BUILT_IN)}")
    return parse_labels(text, spec)


def parse_labels(text: str, where: str) -> LabelSet:
    """As `load_labels`, from the text of a file. where: what messages call it."""
    names: dict[str, bool] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, *kinds = (part.strip() for part in line.split("\t"))
        kind = kinds[0] if kinds else "thing"
        if len(kinds) > 1 or kind not in ("thing", "stuff") or not name or len(name) > MAX_LENGTH:
            raise UsageError(f"line {number} is not a name, or a name, a tab and thing or stuff: {where}")
        if name in names:
            raise UsageError(f"{name!r} is there twice, again in line {number}: {where}")
        names[name] = kind != "stuff"
    if not names:
        raise UsageError(f"there is no label; write one name a line: {where}")
    if len(names) > MAX_LABELS:
        raise UsageError(f"{len(names)} labels are too many, at most {MAX_LABELS}: {where}")
    return LabelSet(tuple(names), np.array(list(names.values())))
