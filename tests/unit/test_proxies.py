"""Who the client is: inventions of clients first, then chains of proxies that are believed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay import Backstay
from backstay.errors import OperatorError
from backstay.http.proxies import KNOWN_MAX, Proxies
from support.asgi import quiet

NETWORKS = "10.0.0.0/8, 192.168.1.1,2001:db8:ffff::/48"
CLIENT = "203.0.113.7"
PROXY = "10.1.2.3"


def client(peer: str, scheme: str = "http", **headers: str | list[str]) -> tuple[str, str]:
    """The client behind a peer that sent some headers."""
    sent = [
        (name.replace("_", "-").encode("latin-1"), one.encode("latin-1"))
        for name, value in headers.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return Proxies(NETWORKS).client(peer, scheme, sent)


@pytest.mark.parametrize("peer", [CLIENT, "192.168.1.2", "2001:db8:fffe::1", "11.0.0.1", "", "unix:"])
def test_a_stranger_is_not_believed(peer: str) -> None:
    """Whatever it says, it is itself, and came as it came."""
    said = {"x_forwarded_for": "10.0.0.1", "x_forwarded_proto": "https", "forwarded": "for=10.0.0.2;proto=https"}
    assert client(peer, **said) == (peer, "http")


@given(st.lists(st.text(st.characters(max_codepoint=255, exclude_characters=","), max_size=20), max_size=5))
def test_what_the_client_invents_changes_nothing(invented: list[str]) -> None:
    """The trusted proxy adds the address that it saw; whatever stands before it is not looked at."""
    assert client(PROXY, x_forwarded_for=", ".join([*invented, CLIENT]))[0] == CLIENT
    assert client(PROXY, x_forwarded_for=[*invented, CLIENT])[0] == CLIENT


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_header_breaks_it(text: str) -> None:
    """Any bytes in any of the headers: an address or the peer, and a scheme."""
    for name in ("x_forwarded_for", "x_forwarded_proto", "forwarded"):
        ip, scheme = client(PROXY, **{name: text})
        assert ip
        assert scheme in ("http", "https")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (PROXY, "http")),
        ({"x_forwarded_for": CLIENT}, (CLIENT, "http")),
        ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "https"}, (CLIENT, "https")),
        ({"x_forwarded_proto": "https"}, (PROXY, "https")),
        ({"x_forwarded_proto": "gopher"}, (PROXY, "http")),
        ({"x_forwarded_for": f"{CLIENT}, 10.0.0.2, 192.168.1.1", "x_forwarded_proto": "https"}, (CLIENT, "https")),
        ({"x_forwarded_for": f"6.6.6.6, {CLIENT}, 10.0.0.2"}, (CLIENT, "http")),
        # one for each hop: the client's own hop decides, not the way between the proxies
        ({"x_forwarded_for": f"{CLIENT}, 10.0.0.2", "x_forwarded_proto": "https, http"}, (CLIENT, "https")),
        ({"x_forwarded_for": f"6.6.6.6, {CLIENT}", "x_forwarded_proto": "https, http"}, (CLIENT, "http")),
        # a proxy that does not set it lets the client's through, but adds its own behind it
        ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "https, http"}, (CLIENT, "http")),
        ({"x_forwarded_for": "10.0.0.9, 10.0.0.2"}, ("10.0.0.9", "http")),
        ({"x_forwarded_for": "unknown, 10.0.0.2"}, ("10.0.0.2", "http")),
        ({"x_forwarded_for": ""}, (PROXY, "http")),
        ({"x_forwarded_for": f"{CLIENT}:51234"}, (CLIENT, "http")),
        ({"x_forwarded_for": "[2001:db8::7]:51234"}, ("2001:db8::7", "http")),
        ({"x_forwarded_for": "2001:DB8::0007"}, ("2001:db8::7", "http")),
        ({"x_forwarded_for": f"::ffff:{CLIENT}"}, (CLIENT, "http")),
        ({"forwarded": f"for={CLIENT};proto=https"}, (CLIENT, "https")),
        ({"forwarded": 'For="[2001:db8::7]:4711";Proto=HTTPS;by=10.0.0.1'}, ("2001:db8::7", "https")),
        ({"forwarded": f'for=6.6.6.6, for="{CLIENT}";proto=https, for=10.0.0.2;proto=http'}, (CLIENT, "https")),
        ({"forwarded": 'for="_hidden,for=6.6.6.6", for=10.0.0.2'}, ("10.0.0.2", "http")),
        ({"forwarded": "for=unknown;proto=https"}, (PROXY, "https")),
        # most proxies set the first and let the client's own second pass
        ({"x_forwarded_for": CLIENT, "forwarded": "for=6.6.6.6;proto=https"}, (CLIENT, "http")),
    ],
)
def test_the_first_address_from_the_right_that_is_no_proxy(
    headers: dict[str, str], expected: tuple[str, str]
) -> None:
    """What a trusted peer says is believed hop by hop."""
    assert client(PROXY, **headers) == expected
    mapped = client(f"::ffff:{PROXY}", **headers)
    assert mapped == (expected if expected[0] != PROXY else (f"::ffff:{PROXY}", expected[1]))


def test_what_is_remembered_is_bounded() -> None:
    """Clients choose what their headers say; they cannot fill the memory with it."""
    proxies = Proxies(NETWORKS)
    for number in range(2 * KNOWN_MAX):
        address = f"192.0.{number >> 8}.{number & 255}"
        assert proxies.client(PROXY, "http", [(b"x-forwarded-for", address.encode())])[0] == address
    assert len(proxies._known) <= KNOWN_MAX
    assert len(proxies._trusted) <= KNOWN_MAX


@pytest.mark.parametrize("text", ["proxy.internal", "10.0.0.0/33", "10.0.0.0/8 10.1.0.0/16", "*", "10.0.0.0.0"])
def test_what_is_no_network_is_told_at_the_start(tmp_path: Path, text: str) -> None:
    """One line, that names the setting."""
    with pytest.raises(OperatorError, match="BACKSTAY_TRUSTED_PROXIES"):
        Proxies(f"10.0.0.1, {text}")
    assert Backstay("x", config=quiet(tmp_path / "x.db", trusted_proxies=text)).config.trusted_proxies == text
