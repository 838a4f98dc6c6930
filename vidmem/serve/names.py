"""The names under which a server may be asked: what Host and Origin may say.

A page of a stranger can let its own name point at 127.0.0.1 (DNS rebinding). For the browser, its requests then stay in
one origin, but their Host is the stranger's name. So only names that are known to be the server's are answered,
whatever address it listens on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import UsageError

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Where a page comes from. host: in lower case, an IPv6 address in brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """As browsers write it: without the port that the scheme has by default."""
        return f"{self.scheme}://{self.host}" + ("" if _PORTS[self.scheme] == self.port else f":{self.port}")


@dataclass(frozen=True, slots=True)
class ServerNames:
    """What a server answers to.

    Attributes:
        address: The address that it listens on, of IPv4 or IPv6.
        port: The port that it listens on.
        others: Further origins that it is asked under, such as the name of a proxy before it.
    """

    address: str
    port: int
    others: frozenset[Origin] = frozenset()

    @property
    def local(self) -> bool:
        """True if only programs on this machine reach it, and no proxy is said to pass requests on."""
        return is_loopback(self.address) and not self.others

    def origin(self, authority: str, reached: str | None = None) -> Origin | None:
        """The origin that a Host header names, if it is one of the server's own.

        Args:
            authority: The value of the header.
            reached: The address of this machine at which the connection arrived. It matters to a server that listens
                on all addresses: each of them is then a name.

        Returns:
            The origin; None for a name of someone else and for malformed ones.
        """
        parsed = _AUTHORITY.fullmatch(authority)
        if parsed is None:
            return None
        host, port = _host(parsed[1]), parsed[2]
        for own in self._own(reached):
            if own.host == host and own.port == (_PORTS[own.scheme] if port is None else int(port)):
                return own
        return None

    def _own(self, reached: str | None) -> Iterable[Origin]:
        address = _normal(self.address)
        if address is not None and ipaddress.ip_address(address).is_unspecified:
            address = None if reached is None else _normal(reached)
        if address is not None:
            yield Origin("http", _bracketed(address), self.port)
            if is_loopback(address):
                yield Origin("http", "localhost", self.port)
        yield from self.others


def is_loopback(address: str) -> bool:
    """Return True for 127.0.0.0/8, ::1, and the former written as IPv6."""
    plain = _normal(address)
    return plain is not None and ipaddress.ip_address(plain).is_loopback


def listening_address(host: str) -> str:
    """The address to listen on for `--host`: an address, or localhost. Raises UsageError for other names.

    A name may lead to several addresses, of which one is not loopback, and to others tomorrow.
    """
    text = host.strip().removeprefix("[").removesuffix("]")
    if text.lower() == "localhost":
        return "127.0.0.1"
    if _normal(text) is None:
        raise UsageError(
            f"`host` is an address such as 127.0.0.1 or 0.0.0.0, or localhost; got {host[:80]!r}. "
            "Names that others use for this machine go into `allow_host`"
        )
    return text


def parse_name(text: str, port: int) -> Origin:
    """Parse a further name of the server: `NAME`, `NAME:PORT`, `http://NAME` or `https://NAME`.

    port: the server's own, for a name without one and without a scheme.

    Raises:
        UsageError: it has another form, such as a pattern or a path.
    """
    scheme, separator, rest = text.strip().partition("://")
    scheme, rest = (scheme.lower(), rest.removesuffix("/")) if separator else ("http", scheme)
    parsed = _AUTHORITY.fullmatch(rest)
    if scheme not in _PORTS or parsed is None or (parsed[2] is not None and not 0 < int(parsed[2]) < 65536):
        raise UsageError(
            f"`allow_host` is a name such as box.local, box.local:8077 or https://memory.example.org; got {text[:80]!r}"
        )
    default = _PORTS[scheme] if separator else port
    return Origin(scheme, _host(parsed[1]), default if parsed[2] is None else int(parsed[2]))


def _host(text: str) -> str:
    """A host of an authority, written in one way."""
    if text.startswith("["):
        plain = _normal(text[1:-1]) if ":" in text else None
        return text.lower() if plain is None else _bracketed(plain)
    return text.lower()


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _normal(address: str) -> str | None:
    """An address in its shortest form, without a zone; IPv4 that is written as IPv6, as IPv4. None for other texts."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
