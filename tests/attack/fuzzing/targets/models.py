"""Weights, configurations and answers of models: from folders of strangers, and from servers."""

from __future__ import annotations

import gzip
import io
import json
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np

from vidmem.errors import VidmemError

from ..mutate import binary, either, json_tree, text
from ..target import Broken, Ready, Target
from .texts import as_file, each, seeds


def safetensors(folder: Path) -> Ready:
    """Files of safetensors: their headers, and the quick check of whole folders."""
    from safetensors.numpy import save

    from vidmem.encoders.integrity import cut_short
    from vidmem.encoders.tensor_file import read_tensors

    made = [
        save({"a": np.zeros((2, 3), np.float32), "b": np.arange(4)}, {"format": "pt"}),
        save({"x": np.ones(1, np.float16)}),
    ]

    def read(path: Path) -> None:
        cut_short(path)
        read_tensors(path, "the weights")

    return Ready(as_file(folder, "model.safetensors", read), made)


def checkpoints(folder: Path) -> Ready:
    """Pickled weights of PyTorch, read without running anything in them."""
    import torch

    from vidmem.encoders.integrity import cut_short
    from vidmem.encoders.tensor_file import read_pickle, read_tensors, table

    made = []
    for number, value in enumerate(({"a": torch.zeros(2, 3)}, {"state_dict": {"b": torch.ones(4)}}, [torch.ones(2)])):
        torch.save(value, folder / f"{number}.pth")
        made.append((folder / f"{number}.pth").read_bytes())

    def read(path: Path) -> None:
        cut_short(path)
        try:
            read_tensors(path, "the weights", inner=("state_dict",))
        finally:
            table(read_pickle(path, "the weights"), "the weights", path)

    return Ready(as_file(folder, "model.pth", read), made)


def region_encoder(folder: Path) -> Ready:
    """The region encoder of T-REN as vidmem writes it: its metadata and its tensors."""
    import torch

    from vidmem.encoders.tren.checkpoint import load_region_encoder, save_region_encoder
    from vidmem.encoders.tren.region_encoder import RegionEncoder

    torch.manual_seed(5)
    save_region_encoder(RegionEncoder(16, 8, heads=2, layers=1, k=2).eval(), folder / "seed.safetensors")
    made = [(folder / "seed.safetensors").read_bytes()]

    def read(path: Path) -> None:
        load_region_encoder(path)

    return Ready(as_file(folder, "tren_region_encoder.safetensors", read), made)


def clip_config(folder: Path) -> Ready:
    """The configuration of a CLIP model in a folder of the user, open_clip_config.json."""
    from encoders import clip_folder

    from vidmem.encoders.clip.files import load_model

    home = clip_folder.write(folder / "model")
    file = home / "open_clip_config.json"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        load_model("clip", f"local-dir:{home}")

    return Ready(run, [file.read_bytes()])


def vlm_config(folder: Path) -> Ready:
    """The files of a vision-language model in a folder: config.json, the processor's and the adapter's."""
    from vlm import tiny_models

    from vidmem.encoders.torchvision_compat import ready
    from vidmem.vlm.local import load

    ready()  # transformers imports torchvision
    home = tiny_models.build("llava", folder / "m")
    names = [n for n in ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
                         "tokenizer.json", "generation_config.json") if (home / n).is_file()]  # fmt: skip
    sound = {name: (home / name).read_bytes() for name in names}
    adapter = json.dumps(
        {"peft_type": "LORA", "base_model_name_or_path": "..", "r": 4, "target_modules": ["q_proj"]}
    ).encode()

    def run(data: bytes) -> None:
        number, body = (data[0] % (len(names) + 1), data[1:]) if data else (0, b"")
        for name, content in sound.items():
            (home / name).write_bytes(content)
        place = home
        if number == len(names):
            place = home / "adapter"
            place.mkdir(exist_ok=True)
            (place / "adapter_config.json").write_bytes(body)
            (place / "adapter_model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
        else:
            (home / names[number]).write_bytes(body)
        load(place)

    small = [bytes([i]) + sound[name] for i, name in enumerate(names)]
    return Ready(run, [*small, bytes([len(names)]) + adapter])


def after_first(mutate: Any) -> Any:
    """Change what follows the first byte, which says what the input is."""

    def inner(rng: Any, seeds: Any) -> bytes:
        seed = rng.choice(seeds)
        alike = [one[1:] for one in seeds if one[:1] == seed[:1]]
        return bytes(seed[:1]) + mutate(rng, alike)

    return inner


def dinov3_config(folder: Path) -> Ready:
    """The config.json of a DINOv3 backbone from Hugging Face."""
    from vidmem.encoders.tren.dinov3 import load_backbone

    home = folder / "dino"
    home.mkdir()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    DINOv3ViTModel(config).save_pretrained(home)

    def run(data: bytes) -> None:
        (home / "config.json").write_bytes(data)
        load_backbone(home)

    return Ready(run, [(home / "config.json").read_bytes()])


def vocabulary(folder: Path) -> Ready:
    """CLIP's vocabulary, packed with gzip."""
    from vidmem.encoders.tren.tokenizer import _merges

    lines = ["# heading", *(f"a{i} b{i}</w>" for i in range(200))]
    packed = gzip.compress("\n".join(lines).encode(), mtime=0)
    return Ready(as_file(folder, "bpe.txt.gz", _merges), [packed, gzip.compress(b"a b\n" * 48_896, mtime=0)])


def record(folder: Path) -> Ready:
    """The record of checksums, and the index of a large model."""
    from vidmem.encoders.hub import part_names, read_record

    def run(data: bytes) -> None:
        (folder / "weights.json").write_bytes(data)
        part_names(folder / "weights.json")
        read_record(folder)

    entry = {"sha256": "ab" * 32, "at": [1, 2], "from": "https://example.org/a"}
    index = {"metadata": {"total_size": 5}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    return Ready(run, [json.dumps(one).encode() for one in ({"a.pth": entry, "b/c.bin": entry}, index)])


def region_masks(folder: Path) -> Ready:
    """Masks in .npz, .npy and .png, for encoders that pool under masks."""
    from PIL import Image

    from vidmem.encoders.masks.folder import read_masks

    masks = np.random.default_rng(1).random((2, 6, 8)) < 0.5
    packed, plain, single, png = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez_compressed(packed, masks=masks)
    np.savez(single, masks=masks.astype(np.float32))
    np.save(plain, masks)
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(png, "PNG")

    def run(data: bytes) -> None:
        kind = "png" if data[:4] == b"\x89PNG" else "npy" if data[:6] == b"\x93NUMPY" else "npz"
        (folder / f"a.{kind}").write_bytes(data)
        masks = read_masks(folder / f"a.{kind}")
        if masks.ndim != 3:
            raise Broken(f"masks of the shape {masks.shape}")

    return Ready(run, [one.getvalue() for one in (packed, single, plain, png)])


def huge_arrays(rng: Any, seeds: Any) -> bytes:
    """A .npy or .npz whose header claims any shape and type."""
    shape = tuple(rng.choice((0, 1, 2, 8, 4096, 65536, 1 << 31, 1 << 62)) for _ in range(rng.randint(0, 5)))
    kind = rng.choice(("|b1", "<f4", "<f8", "|u1", ">i8", "<c16", "|O", "<U9", "<M8[ns]", "|V8", "<f2"))
    head = f"{{'descr': '{kind}', 'fortran_order': {rng.random() < 0.5}, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    array = b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + bytes(rng.choice((0, 48, 5000)))
    if rng.random() < 0.5:
        return array
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        archive.writestr("masks.npy", array)
    return out.getvalue()


def answers(_: Path) -> Ready:
    """Answers of a served model in JSON, and its errors."""
    from vidmem.vlm.endpoint import _message, _read

    def run(data: bytes) -> None:
        said = _message(data)
        if "\n" in said or len(said) > 200:
            raise Broken("a message of more than one line")
        text, tokens, cut = _read(data, "http://localhost/v1/chat/completions")
        if not isinstance(text, str) or not isinstance(tokens, int | None) or not isinstance(cut, bool):
            raise Broken("an answer of other types")

    choice = {"index": 0, "message": {"role": "assistant", "content": "<seg>cup *4\n</seg>"}, "finish_reason": "stop"}
    parts = {"message": {"content": [{"type": "text", "text": "a"}, {"type": "image"}]}, "finish_reason": "length"}
    made = [
        {"choices": [choice], "usage": {"completion_tokens": 7}},
        {"choices": [parts], "usage": None},
        {"error": {"message": "no such model", "code": 404}},
        {"error": "busy"},
    ]
    return Ready(run, [json.dumps(one).encode() for one in made])


def http(_: Path) -> Ready:
    """The HTTP of a served model: status, headers and body, byte by byte."""
    from vidmem.vlm import endpoint

    picture = np.zeros((4, 4, 3), np.uint8)

    def run(data: bytes) -> None:
        ours, theirs = socket.socketpair()

        def serve() -> None:
            try:
                theirs.sendall(data)
                theirs.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        thread = threading.Thread(target=serve, daemon=True)
        before = socket.create_connection
        socket.create_connection = lambda *_: ours  # type: ignore[assignment]
        try:
            thread.start()
            answer = endpoint.Endpoint("http://localhost:1/v1", "m", timeout_s=5).ask(picture, "cup?", max_tokens=8)
            if not isinstance(answer.text, str):
                raise Broken("an answer without text")
        finally:
            socket.create_connection = before
            ours.close()
            theirs.close()
            thread.join()

    body = json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}).encode()
    plain = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n"
    refused = b'HTTP/1.1 401 No\r\nContent-Length: 18\r\n\r\n{"error": "denied"}'
    return Ready(run, [plain, chunked, moved, refused, b"HTTP/1.0 500 Oops\r\n\r\nx"])


def urls(_: Path) -> Ready:
    """URLs of endpoints."""
    from vidmem.vlm.endpoint import Endpoint

    def password(given: str) -> None:
        for url in (f"http://user:hunter2@{given}", f"user:hunter2@{given}", f"https://hunter2@{given}"):
            try:
                shown = Endpoint(url, "m").address
            except VidmemError as error:
                shown = str(error)
            if "hunter2" in shown:
                raise Broken(f"a password is shown: {shown}")

    return Ready(
        each(lambda given: Endpoint(given, "m"), password),
        seeds("http://localhost:8000/v1", "https://api.example.org/v1/", "http://[::1]:80/v1", "localhost/v1?x#y"),
    )


HTTP = [
    b"HTTP/1.1 ",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"ffffffff\r\n",
    b": ",
    b"Location: ",
]
TORCH = ("torch",)
TARGETS = [
    Target(
        "safetensors",
        safetensors,
        either(binary([b"data_offsets", b"dtype", b"shape", b"F32", b"__metadata__"]), binary()),
        1.0,
        needs=TORCH,
    ),
    Target(
        "checkpoints",
        checkpoints,
        binary([b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"data.pkl", b"cos\nsystem\n", b"R", b"."]),
        0.6,
        needs=TORCH,
    ),
    Target(
        "region-encoder",
        region_encoder,
        binary([b"side", b"pixels", b"data_offsets", b"format"]),
        0.1,
        needs=TORCH,
        megabytes=1024,
    ),
    Target(
        "clip-config",
        clip_config,
        json_tree(["embed_dim", "vision_cfg", "text_cfg", "hf_model_name", "timm_model_name", "layers"]),
        0.1,
        needs=("torch", "open_clip"),
        megabytes=2048,
        seconds=30,
    ),
    Target(
        "vlm-config",
        vlm_config,
        after_first(json_tree(["model_type", "auto_map", "architectures", "hidden_size", "torch_dtype"])),
        0.04,
        needs=("transformers", "peft", "torchvision"),
        megabytes=2048,
        seconds=30,
    ),
    Target(
        "dinov3-config",
        dinov3_config,
        json_tree(["model_type", "hidden_size", "patch_size", "auto_map"]),
        0.1,
        needs=("transformers",),
        megabytes=2048,
        seconds=30,
    ),
    Target("vocabulary", vocabulary, binary([b"\x1f\x8b\x08", b"\0\0\0\0"]), 0.2),
    Target("weights-record", record, json_tree(["sha256", "at", "from", "weight_map", "metadata"])),
    Target(
        "region-masks",
        region_masks,
        either(binary([b"\x93NUMPY", b"'descr'", b"'shape'", b"masks.npy", b"PK\x03\x04"]), huge_arrays),
        1.0,
        megabytes=1024,
    ),
    Target(
        "model-answers",
        answers,
        json_tree(["choices", "message", "content", "usage", "finish_reason", "error", "text", "type"]),
        1.5,
    ),
    Target("http", http, binary(HTTP), 0.6),
    Target(
        "endpoint-urls",
        urls,
        text(["http://", "https://", "@", ":", "[", "]", "?", "#", "localhost", "%00", "/v1", "secret"]),
    ),
]
