"""Quantise the detector's convolutions to int8: `python -m lab.tiny.quantise nanodet.onnx --out nanodet-int8.onnx`.

Static, per channel, in QDQ form (ONNX Runtime's quantize_static). The ranges of activations come from doors.tar and
Caltech-101, on which nothing is measured. Weights have 7 bits, since processors with AVX2 but without VNNI add products
of 8 bits in 16 bits, which would overflow.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

from vidmem.encoders.tiny.detector import working_size

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PHOTOS = 80
"""Photos that the ranges of activations are taken from."""


def pictures(tar: Path, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield `count` photos, evenly spread over a tar, in the detector's working size."""
    with tarfile.open(tar) as archive:
        names = sorted(n for n in archive.getnames() if n.endswith(".jpg") and "BACKGROUND" not in n)
        for i in np.linspace(0, len(names) - 1, count).round().astype(int):
            stream = archive.extractfile(names[i])
            assert stream is not None
            photo = Image.open(io.BytesIO(stream.read())).convert("RGB")
            yield np.asarray(photo.resize(working_size(*photo.size), Image.Resampling.BICUBIC))


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds pictures to the calibration, one at a time."""

    def __init__(self, images: Sequence[NDArray[np.uint8]]) -> None:
        self.rest = iter(images)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        image = next(self.rest, None)
        return None if image is None else {"image": image[None]}


def quantise(source: Path, out: Path, images: Sequence[NDArray[np.uint8]]) -> None:
    """Write the quantised network. images: what the ranges of activations are taken from."""
    with tempfile.TemporaryDirectory() as name:
        ready = Path(name) / "ready.onnx"
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            out,
            Reader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the file that convert_detector wrote")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of doors.tar and caltech101.tar")
    parser.add_argument("--photos", type=int, default=PHOTOS, help="number of photos, half from each tar")
    args = parser.parse_args()
    images = [i for tar in ("doors.tar", "caltech101.tar") for i in pictures(args.data / tar, args.photos // 2)]
    quantise(args.source, args.out, images)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {len(images)} photos")
    return 0


if __name__ == "__main__":
    sys.exit(main())
