"""What hypothesis draws from, where several tests want it."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vidmem.export.textmask import Label, TextMask, build

TRICKY = st.sampled_from(
    [
        "others",
        "Others",
        "",
        " ",
        "a|b",
        "| ",
        "size *2",
        "*3",
        "\\",
        "\\p",
        "\n",
        "\n ",
        "cup #2",
        "#1",
        "</seg>",
        "<seg>",
        " cup ",
        "\r\n",
        "чашка",
        "杯子",
        "\\eothers",
        "\u2028",
        "a  b",
    ]
)
LABELS = st.builds(Label, TRICKY | st.text(max_size=12), st.integers(0, 1 << 29))


@st.composite
def masks(draw: st.DrawFn) -> TextMask:
    labels = draw(st.lists(LABELS, min_size=1, max_size=5))
    side = st.sampled_from([1, 2, 5, 16, 24, 32])
    cells = draw(hnp.arrays(np.int32, (draw(side), draw(side)), elements=st.integers(-1, len(labels) - 1)))
    return build(cells, labels)
