"""Headers of answers: what a browser may do with them, and file names in them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

Headers = list[tuple[bytes, bytes]]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""What the page may load: only what the server itself gives. blob: shows a picture that was dropped on the page.
No text becomes markup (trusted types): names of files are shown as text."""
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Everything else is data. Opened as a page, it can do nothing."""

_EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "origin-agent-cluster": "?1",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), hid=(), "
    "payment=(), publickey-credentials-get=()",
}
_FIXED: Headers = [(name.encode(), value.encode()) for name, value in _EVERYWHERE.items()]
_OURS = frozenset(_EVERYWHERE) | {"content-security-policy"}


def guarded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an answer with those for safety.

    Headers that would let other origins read the answer are left out. An answer that does not say how long it may be
    kept is not kept.
    """
    out: Headers = []
    kind, cached = b"", False
    for name, value in headers:
        lower = name.lower()
        text = lower.decode("latin-1")
        if text in _OURS or text.startswith("access-control-"):
            continue
        kind = value if lower == b"content-type" else kind
        cached = cached or lower == b"cache-control"
        out.append((lower, value))
    policy = PAGE_POLICY if kind.lower().startswith(b"text/html") else DATA_POLICY
    out += [*_FIXED, (b"content-security-policy", policy.encode())]
    return out if cached else [*out, (b"cache-control", b"no-store")]


def attachment(name: str, *, inline: bool = False) -> str:
    """The value of Content-Disposition that saves an answer under a name, which may hold anything.

    The plain form has letters, digits and `._-` only. The exact one follows in percent-encoding (RFC 8187).
    """
    name = name.lstrip(".")[-150:] or "file"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    shown = "".join("_" if not c.isprintable() or c in '/\\"' else c for c in name)
    encoded = quote(shown.encode("utf-8", "replace"), safe="")
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
