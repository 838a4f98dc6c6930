"""Connect to Ray: a cluster on this machine that lives as long as the run, or one that is there."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ..encoders.extras import needing
from ..encoders.onnx import cores
from ..errors import UsageError, WorkerError
from .session import session_folder

OBJECT_STORE = 100 << 20
"""Bytes of the object store of a local cluster. Frames and tokens never go through it."""
_LOCAL = re.compile(r"local(?::([0-9]{1,4}))?")
_ADDRESS = re.compile(r"(?:ray://)?(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Where:
    """Where workers run.

    Attributes:
        local: Number of workers on this machine; 0 for a cluster that is there.
        address: Of the cluster; empty for this machine.
    """

    local: int
    address: str = ""


def parse_workers(text: str) -> Where:
    """Read `local`, `local:N`, `ray://HOST:PORT`, `HOST:PORT` or `auto`.

    Raises:
        UsageError: It is none of them.
    """
    if (found := _LOCAL.fullmatch(text)) is not None:
        count = int(found[1]) if found[1] else cores()
        if count < 1:
            raise UsageError("`workers` local:N needs at least one worker")
        return Where(count)
    if text == "auto" or _ADDRESS.fullmatch(text):
        return Where(0, text)
    raise UsageError(f"`workers` is local, local:4, ray://HOST:10001, HOST:6379 or auto; not {text[:80]!r}")


@needing("scale", "`vidmem fleet index`")
def import_ray() -> Any:
    """Import Ray. Raises ModelError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # as other commands; Ray's 15 starves beside any other work
    import ray

    return ray


@contextmanager
def connected(where: Where) -> Iterator[Any]:
    """Give the module `ray`, connected. A cluster that this makes ends with the block; another one stays.

    Raises:
        WorkerError: The cluster cannot be reached or started, or was lost within the block.
        ModelError: Ray is not installed.
    """
    ray = import_ray()
    if ray.is_initialized():  # by whoever called this
        yield ray
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    terminate = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        if where.local:
            options |= {
                "address": "local",
                "num_cpus": where.local,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": stack.enter_context(session_folder()),
            }
        else:
            options["address"] = where.address
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray's client says in two lines what its error says again
                ray.init(**options)
        except Exception as error:  # gRPC, Ray and Redis have their own
            remedy = (
                "check that Ray can start here"
                if where.local
                else "check the address, run `ray start --head` there, or set RAY_AUTH_MODE=token if the cluster asks "
                "for its token"
            )
            raise WorkerError(
                f"the cluster of workers cannot be reached ({_cause(error)}); {remedy}: {where.address or 'local'}"
            ) from None
        stack.callback(ray.shutdown)
        if terminate is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray's prints traces and aborts
        with _quiet():
            try:
                yield ray
            except (ConnectionError, ray.exceptions.RaySystemError) as error:
                raise WorkerError(
                    f"the cluster of workers was lost ({_cause(error)}); run the same again to continue: "
                    f"{where.address or 'local'}"
                ) from None


def _cause(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Ray print nothing when a worker dies: the run tells of it in one line. No public switch of Ray does that."""
    from ray._private import worker

    printing = getattr(worker, "print_to_stdstream", None)
    if printing is None:
        yield
        return
    worker.print_to_stdstream = lambda *args, **options: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printing


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker takes of a machine: CPUs, GPUs, and the cores that its encoder uses."""

    cpus: float
    gpus: float
    cores: int | None


def shares(ray: Any, where: Where, cpus_per_worker: int, gpu_workers: int) -> tuple[int, Share]:
    """How many workers there can be now, and what each takes.

    Args:
        ray: The connected module.
        where: Where they run.
        cpus_per_worker: CPUs of a worker in a cluster.
        gpu_workers: Workers that share a GPU, where there are GPUs.
    """
    there = ray.cluster_resources()
    gpus, cpus = float(there.get("GPU", 0)), float(there.get("CPU", 0))
    if where.local:
        per_gpu = gpus / where.local if gpus else 0.0
        return where.local, Share(
            min(1.0, cpus / where.local or 1.0), min(per_gpu, 1.0), max(1, cores() // where.local)
        )
    if gpus:
        share = Share(min(1.0, cpus / (gpus * gpu_workers)), 1 / gpu_workers, None)
        return int(gpus * gpu_workers), share
    return int(cpus // cpus_per_worker), Share(float(cpus_per_worker), 0.0, cpus_per_worker)
