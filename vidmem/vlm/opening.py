"""Open a model by what the user wrote: a folder, or the URL of an endpoint."""

from __future__ import annotations

from ..address import without_secrets
from ..errors import UsageError
from .answer import Asker


def is_url(model: str) -> bool:
    """Return True if a model is the URL of an endpoint, rather than a folder."""
    return model.lower().startswith(("http://", "https://"))


def open_model(
    model: str,
    *,
    device: str | None = None,
    model_name: str | None = None,
    allow_network: bool = False,
    timeout_s: float | None = None,
) -> Asker:
    """Open a model.

    Args:
        model: A folder, or http://HOST/v1.
        device: For a folder: cuda, mps or cpu; None for the best that works.
        model_name: For an endpoint: the name of the model there.
        allow_network: Pictures may be sent to the endpoint.
        timeout_s: For an endpoint: time for an answer, in seconds.

    Raises:
        UsageError: An endpoint is not allowed, or an argument is missing or belongs to the other kind.
        ModelError: The model cannot be loaded.
    """
    if not is_url(model):
        if "://" in model:
            got = without_secrets(model, whole=True)[:80]
            raise UsageError(f"a model is a folder, or an endpoint http://HOST/v1 or https://HOST/v1; got {got!r}")
        if model_name is not None or timeout_s is not None:
            raise UsageError("`model_name` and `timeout` belong to an endpoint; a model in a folder needs neither")
        if allow_network:
            raise UsageError("`allow_network` belongs to an endpoint; a model in a folder uses no network")
        from .generate import LocalAsker

        return LocalAsker.open(model, device)
    if not allow_network:
        raise UsageError("an endpoint gets the picture, which leaves this machine; give `allow_network` if it may")
    if model_name is None or not model_name.strip():
        raise UsageError("an endpoint serves models by name; give `model_name`")
    from .endpoint import TIMEOUT_S, Endpoint

    return Endpoint(model, model_name, timeout_s=TIMEOUT_S if timeout_s is None else timeout_s)
