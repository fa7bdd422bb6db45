"""Who the client is behind trusted proxies: X-Forwarded-For and X-Forwarded-Proto, or Forwarded (RFC 7239).

Only what a trusted proxy says is believed: hops are read from the right, and the first address that is no trusted
proxy is the client's. Whatever stands to the left of it is the client's own invention.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..errors import OperatorError
from .messages import Header

#: Chains remembered; clients choose them, so that they are forgotten when there are too many.
KNOWN_MAX = 4_096
_PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|([^;,\s"]*))')
_SCHEMES = frozenset({"http", "https"})

Hop = tuple[str, str]


class Proxies:
    """The networks whose word counts.

    Args:
        text: addresses and networks in CIDR notation, separated by commas.

    Raises:
        OperatorError: one of them is neither.

    Example:
        >>> forwarded = [(b"x-forwarded-for", b"6.6.6.6, 203.0.113.7, 10.0.0.2")]
        >>> Proxies("10.0.0.0/8").client("10.0.0.1", "http", forwarded)
        ('203.0.113.7', 'http')
    """

    def __init__(self, text: str) -> None:
        self._networks = [_network(part.strip()) for part in text.split(",") if part.strip()]
        self._trusted: dict[str, bool] = {}
        self._known: dict[tuple[str, str, bytes], tuple[str, str]] = {}

    def client(self, peer: str, scheme: str, headers: list[Header]) -> tuple[str, str]:
        """The address and the scheme of the client whose request the peer brought.

        Args:
            peer: the address at the other end of the connection.
            scheme: of the connection itself.
        """
        if not self._trusts(peer):
            return peer, scheme
        said = {name: b", ".join(v for n, v in headers if n == name) for name in _NAMES}
        key = (peer, scheme, b"\n".join(said.values()))
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            found = self._known[key] = self._walk(peer, scheme, _hops(*(v.decode("latin-1") for v in said.values())))
        return found

    def _walk(self, peer: str, scheme: str, hops: list[Hop]) -> tuple[str, str]:
        """From the nearest hop to the first that is no proxy of ours."""
        for address, proto in reversed(hops):
            if not self._trusts(peer):
                break
            scheme = proto if proto in _SCHEMES else scheme
            parsed = _address(address)
            if parsed is None:
                break
            peer = str(parsed)
        return peer, scheme

    def _trusts(self, address: str) -> bool:
        known = self._trusted.get(address)
        if known is None:
            parsed = _address(address)
            known = parsed is not None and any(parsed in network for network in self._networks)
            if len(self._trusted) >= KNOWN_MAX:
                self._trusted.clear()
            self._trusted[address] = known
        return known


#: X-Forwarded-For comes first: nearly every proxy sets it, and those that do let a client's Forwarded pass.
_NAMES = (b"x-forwarded-for", b"x-forwarded-proto", b"forwarded")


def _hops(addresses: str, protocols: str, forwarded: str) -> list[Hop]:
    """The chain, the nearest last."""
    if addresses:
        hops = [part.strip() for part in addresses.split(",")]
        protos = [part.strip().lower() for part in protocols.split(",")]
        # One for each hop, or only the outermost's: then it holds for all of them.
        each = protos if len(protos) == len(hops) else [protos[-1]] * len(hops)
        return list(zip(hops, each, strict=True))
    if not forwarded:
        return [("", protocols.rpartition(",")[2].strip().lower())] if protocols else []
    found: list[Hop] = []
    for element in re.findall(r'(?:"[^"]*"|[^,])+', forwarded):
        pairs = {name.lower(): quoted or plain for name, quoted, plain in _PAIR.findall(element)}
        found.append((pairs.get("for", ""), pairs.get("proto", "").lower()))
    return found


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, perhaps with its port; `None` for anything else, such as RFC 7239's `unknown`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        message = f"BACKSTAY_TRUSTED_PROXIES: {text!r} is no address or network: write 10.0.0.0/8."
        raise OperatorError(message) from None
