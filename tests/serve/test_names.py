"""The names that a server answers to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import UsageError
from vidmem.serve.names import ServerNames, is_loopback, listening_address, parse_name

LOCAL = ServerNames("127.0.0.1", 8077)


@pytest.mark.parametrize("host", ["127.0.0.1:8077", "localhost:8077", "LOCALHOST:8077"])
def test_a_local_server_answers_to_its_address_and_to_localhost(host: str) -> None:
    own = LOCAL.origin(host)
    assert own is not None
    assert str(own) == f"http://{host.lower()}"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",  # port 80
        "127.0.0.1:8078",
        "127.0.0.2:8077",
        "localhost",
        "localhost.:8077",
        "evil.example:8077",
        "localhost.evil.example:8077",
        "127.0.0.1.evil.example:8077",
        "127.0.0.1:8077@evil.example",
        "evil.example, 127.0.0.1:8077",
        "127.0.0.1:8077, evil.example",
        "127.0.0.1:8077:8077",
        "127.0.0.1:08077000",
        "127.1:8077",
        "2130706433:8077",
        "0x7f.0.0.1:8077",
        "[::1]:8077",
        "[127.0.0.1]:8077",
        "[::ffff:127.0.0.1",
        "0.0.0.0:8077",
        " 127.0.0.1:8077",
        "127.0.0.1:8077\t",
        "localhost:8077/x",
        "http://localhost:8077",
        "xn--lcalhost-gva:8077",
    ],
)
def test_it_answers_to_no_other(host: str) -> None:
    assert LOCAL.origin(host) is None


@given(st.text(max_size=60))
def test_any_text_is_no_name_or_an_own_one(host: str) -> None:
    own = LOCAL.origin(host)
    assert own is None or str(own) in ("http://127.0.0.1:8077", "http://localhost:8077")


def test_an_ipv6_server() -> None:
    names = ServerNames("::1", 8077)
    assert names.local
    assert str(names.origin("[::1]:8077")) == "http://[::1]:8077"
    assert names.origin("[0:0:0:0:0:0:0:1]:8077") == names.origin("[::1]:8077")
    assert names.origin("localhost:8077") is not None
    assert names.origin("127.0.0.1:8077") is None


def test_a_server_on_all_addresses_keeps_its_list() -> None:
    """Binding 0.0.0.0 must not drop the check (jan #8453)."""
    names = ServerNames("0.0.0.0", 8077, frozenset({parse_name("box.local", 8077)}))
    assert names.origin("evil.example:8077", "192.168.1.5") is None
    assert names.origin("192.168.1.6:8077", "192.168.1.5") is None
    assert names.origin("0.0.0.0:8077", "192.168.1.5") is None
    assert names.origin("localhost:8077", "192.168.1.5") is None
    assert str(names.origin("192.168.1.5:8077", "192.168.1.5")) == "http://192.168.1.5:8077"
    assert names.origin("192.168.1.5:8077", "::ffff:192.168.1.5") is not None
    assert names.origin("localhost:8077", "127.0.0.1") is not None
    assert names.origin("box.local:8077") is not None
    assert names.origin("evil.example:8077", "evil.example") is None
    assert ServerNames("::", 8077).origin("[fe80::1]:8077", "fe80::1%eth0") is not None


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:0.0.0.0", False),
        ("192.168.1.5", False),
        ("fe80::1%eth0", False),
        ("169.254.1.1", False),
        ("localhost", False),
    ],
)
def test_only_loopback_is_local(address: str, local: bool) -> None:
    assert is_loopback(address) is local


def test_a_further_name_makes_a_server_public() -> None:
    assert LOCAL.local
    assert not ServerNames("127.0.0.1", 8077, frozenset({parse_name("https://m.example", 8077)})).local


def test_names_of_a_proxy() -> None:
    names = ServerNames("127.0.0.1", 8077, frozenset({parse_name("https://memory.example.org/", 8077)}))
    assert str(names.origin("memory.example.org")) == "https://memory.example.org"
    assert names.origin("MEMORY.example.org:443") is not None
    assert names.origin("memory.example.org:8077") is None
    assert str(parse_name("http://a", 8077)) == "http://a"
    assert str(parse_name("a", 8077)) == "http://a:8077"
    assert str(parse_name("a:9000", 8077)) == "http://a:9000"


@pytest.mark.parametrize("text", ["", "*", "*.example.org", "ftp://a", "a/b", "a:0", "a:65536", "a b", "user@a", "a,b"])
def test_a_malformed_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="allow_host"):
        parse_name(text, 8077)


def test_what_can_be_listened_on() -> None:
    assert listening_address("localhost") == "127.0.0.1"
    assert listening_address("[::1]") == "::1"
    assert listening_address("0.0.0.0") == "0.0.0.0"
    for name in ("", "box.local", "127.0.0.1:80", "*"):
        with pytest.raises(UsageError, match="`host`"):
            listening_address(name)
