"""Memories of a run."""

from __future__ import annotations

from pathlib import Path

from ..encoders import Encoder
from ..memory import Memory
from ..query.query import Query
from ..store import Store


def opened(folder: Path, encoder: Encoder) -> Memory:
    """Open or make a memory for writing, with an encoder that is loaded already.

    Raises:
        StoreError: The memory is damaged, or its folder cannot be written.
        LockedError: Another process is writing to it.
        ModelMismatchError: Another encoder made it.
    """
    store = Store.open(folder, write=True, create=True)
    try:
        query = Query(store, encoder.info.name, None)
        query.use(encoder)
        memory = Memory(store, query)
        made = store.model()
        if made is not None and store.sources():
            store.check_model(memory.model_record(made.config))
        return memory
    except BaseException:
        store.close()
        raise
