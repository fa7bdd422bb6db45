"""A passkey device in software (WebAuthn Level 3), and the browser between it and a page."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def b64(raw: bytes) -> str:
    """base64url."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The bytes of base64url."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """Has one passkey for each site.

    Attributes:
        origin: of the page that asks, as its browser says.
        flags: what it says of who uses it.
        counting: whether it counts its signatures.
    """

    origin: str
    flags: int = PRESENT | VERIFIED
    counting: bool = True
    count: int = 0
    id: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    handle: str = ""

    def create(self, options: dict[str, Any], **lies: Any) -> dict[str, Any]:
        """`navigator.credentials.create`."""
        self.handle = options["user"]["id"]
        client = self._client("webauthn.create", options["challenge"], lies)
        numbers = self.key.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        attested = bytes(16) + len(self.id).to_bytes(2) + self.id + cbor2.dumps(public)
        data = self._data(lies.get("rp_id", options["rp"]["id"]), self.flags | ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        response = {"clientDataJSON": b64(client), "attestationObject": b64(attestation)}
        return {"id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "response": response}

    def get(self, options: dict[str, Any], **lies: Any) -> dict[str, Any]:
        """`navigator.credentials.get`."""
        client = self._client("webauthn.get", options["challenge"], lies)
        self.count += self.counting
        data = self._data(lies.get("rp_id", options["rpId"]), self.flags)
        signed = data + hashlib.sha256(client).digest()
        key: ec.EllipticCurvePrivateKey = lies.get("key", self.key)
        signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature)}
        response["userHandle"] = lies.get("handle", self.handle)
        own = b64(lies.get("id", self.id))
        return {"id": own, "rawId": own, "type": "public-key", "response": response}

    def _client(self, kind: str, challenge: str, lies: dict[str, Any]) -> bytes:
        told = {"type": lies.get("type", kind), "challenge": lies.get("challenge", challenge)}
        told["origin"] = lies.get("origin", self.origin)
        return json.dumps(told | {"crossOrigin": False}).encode()

    def _data(self, site: str, flags: int) -> bytes:
        return hashlib.sha256(site.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)
