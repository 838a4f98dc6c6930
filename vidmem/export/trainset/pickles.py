"""Reads pickles that hold plain data, such as RefCOCO's `refs(unc).p`, and nothing else.

A pickle can call any function of any module. This reader refuses every name of a module, so only what has an opcode of
its own can come out: None, numbers, text, bytes, lists, tuples, dicts and sets.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

from ...errors import MediaError
from ...text_files import read_bytes
from .show import cut

MAX_BYTES = 1 << 30
"""Larger files are refused; RefCOCO's have a few MB."""


class _Plain(pickle._Unpickler):  # the one in Python: the other takes 64 GB for a claim of seven bytes
    dispatch = pickle._Unpickler.dispatch.copy()  # the functions of the opcodes

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {cut(module)}.{cut(name)}, and only plain data is read")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it points to data outside of the file")


def _with_plain_keys(opcode: bytes, keys: slice) -> None:
    """Refuse tuples and sets among the values that the opcode hashes, which lie on the stack at `keys`.

    Hashing a tuple of tuples that share their parts takes time exponential in its depth.
    """
    usual: Any = pickle._Unpickler.dispatch[opcode[0]]

    def load(self: Any) -> None:
        if any(isinstance(key, tuple | frozenset) for key in self.stack[keys]):
            raise pickle.UnpicklingError("a key or a member of a set is a tuple or a set, and only plain ones are read")
        usual(self)

    _Plain.dispatch[opcode[0]] = load


_with_plain_keys(pickle.SETITEM, slice(-2, -1))
for _opcode in (pickle.SETITEMS, pickle.DICT):
    _with_plain_keys(_opcode, slice(None, None, 2))
for _opcode in (pickle.ADDITEMS, pickle.FROZENSET):
    _with_plain_keys(_opcode, slice(None))


def load_plain(path: Path) -> Any:
    """The plain data in a pickle. Text that Python 2 wrote as bytes is read as UTF-8.

    Raises MediaError when the file cannot be read, is damaged, or holds anything else than plain data.
    """
    data = read_bytes(path, "the pickle cannot", limit=MAX_BYTES)
    try:
        return _Plain(io.BytesIO(data), encoding="utf-8", errors="replace").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise MediaError(f"the pickle cannot be read ({_cause(error)}); fetch it again: {path}") from None


def _cause(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "it ends too early"
    return cut(str(error), 300) or type(error).__name__
