"""Pickles with plain data are read, and no other: nothing in a file is ever called."""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import MediaError
from vidmem.export.trainset import pickles
from vidmem.export.trainset.pickles import load_plain
from vidmem.export.trainset.show import short

PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.tuples(inner),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refs(unc).p"


@given(PLAIN, st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_plain_data_comes_back(tmp_path_factory: pytest.TempPathFactory, data: Any, protocol: int) -> None:
    if protocol < 3 and b"c_" in pickle.dumps(data, protocol):
        return  # bytes, which such an old pickle writes as a call
    path = tmp_path_factory.getbasetemp() / "plain.p"
    path.write_bytes(pickle.dumps(data, protocol))
    assert load_plain(path) == data


def test_text_of_python_2_is_text(path: Path) -> None:
    path.write_bytes(b"(dp0\nS'sent'\np1\nS'red cup'\np2\ns.")  # protocol 0, byte strings
    assert load_plain(path) == {"sent": "red cup"}


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_called(path: Path, protocol: int) -> None:
    witness = path.parent / "witness"
    for harmful in (Calls(os.mkdir, str(witness)), Calls(eval, f"__import__('os').mkdir({str(witness)!r})")):
        path.write_bytes(pickle.dumps([harmful], protocol))
        with pytest.raises(MediaError, match="only plain data is read"):
            load_plain(path)
        assert not witness.exists()
        pickle.loads(path.read_bytes())  # it would have been
        assert witness.exists()
        witness.rmdir()


def test_classes_are_refused_even_harmless_ones(path: Path) -> None:
    path.write_bytes(pickle.dumps(collections.OrderedDict(a=1)))
    with pytest.raises(MediaError, match=r"collections\.OrderedDict, and only plain data"):
        load_plain(path)


def test_damaged_files_fail_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MediaError, match=r"cannot be read \(No such file"):
        load_plain(path)
    whole = pickle.dumps([{"sentences": [{"sent": "a"}] * 3}] * 20, 2)
    assert len(list(pickletools.genops(whole))) > 20
    for end in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:end])
        with pytest.raises(MediaError, match="the pickle cannot be read"):
            load_plain(path)
    monkeypatch.setattr(pickles, "MAX_BYTES", 10)
    with pytest.raises(MediaError, match="larger than"):
        load_plain(path)


def test_a_place_far_away_takes_no_memory(path: Path) -> None:
    path.write_bytes(b"\x80\x02Nr\xff\xff\xff\xff.")  # keep None as the object 4,294,967,295
    tracemalloc.start()
    assert load_plain(path) is None
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@given(st.binary(max_size=40))
def test_noise_fails_in_words(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.p"
    path.write_bytes(noise)
    try:
        load_plain(path)
    except MediaError:
        return


def test_messages_stay_short(path: Path) -> None:
    path.write_bytes(b"\x80\x02c" + b"m" * 24_000 + b"\nn\n.")
    with pytest.raises(MediaError, match="and only plain data is read") as caught:
        load_plain(path)
    assert len(str(caught.value)) < 400 + len(str(path))
    path.write_bytes(b"")
    with pytest.raises(MediaError, match=r"cannot be read \(it ends too early\)"):
        load_plain(path)


def test_values_are_shown_shortly() -> None:
    value: Any = "a" * 1000
    for _ in range(60):
        value = [value] * 9  # whole, it would never end
    assert len(short(value)) <= 100
    assert short(7) == "7"
    assert short(10**5000) == "a value of type int"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_keys_that_take_forever_to_hash_are_refused(path: Path, protocol: int) -> None:
    """Sixty tuples in each other: 2 ** 60 steps to hash, in 120 bytes."""
    start = pickle.PROTO + bytes([protocol]) if protocol >= 2 else b""
    body = b"".join(_tuple_of_itself(protocol) for _ in range(60))
    for opcodes in (
        b"}" + b"N" + body + b"Ns.",
        b"}(" + b"N" + body + b"Nu.",
        b"(" + b"N" + body + b"Nd.",
    ):
        path.write_bytes(start + opcodes)
        with pytest.raises(MediaError, match="a key or a member"):
            load_plain(path)
    if protocol >= 4:
        for opcodes in (
            pickle.EMPTY_SET + b"(N" + body + pickle.ADDITEMS + b".",
            b"(N" + body + pickle.FROZENSET + b".",
        ):
            path.write_bytes(start + opcodes)
            with pytest.raises(MediaError, match="a key or a member"):
                load_plain(path)


def _tuple_of_itself(protocol: int) -> bytes:
    """Replaces the top of the stack by a tuple that holds it twice."""
    return b"2\x86" if protocol >= 2 else b"p0\n0(g0\ng0\nt"
