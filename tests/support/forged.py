"""Forged access tokens, over the published attack classes on JWT (RFC 8725, and the CVEs that taught them)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from backstay.auth.keys import SigningKey

Forged = tuple[str, str]
P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519 = 2**252 + 27742317777372353535851937790883648493
REMOTE = "https://attacker.example/jwks.json"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Its bytes."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def dumped(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


class Forger:
    """Makes them of a good one.

    Args:
        good: a valid token.
        key: what signed it: only the tests of claims and headers may use it.
        public: its public half, which everybody can read.
    """

    def __init__(self, good: str, key: SigningKey, public: Mapping[str, Any], secret: str) -> None:
        self.good = good
        self.key = key
        self.public = public
        self.secret = secret
        self.head, self.body, self.signature = good.split(".")
        self.header: dict[str, Any] = json.loads(unb64(self.head))
        self.claims: dict[str, Any] = json.loads(unb64(self.body))

    def all(self) -> Iterator[Forged]:
        """Every class."""
        for make in (
            self.unsigned,
            self.confused_algorithms,
            self.foreign_keys,
            self.injected_kids,
            self.brought_keys,
            self.extensions,
            self.bad_signatures,
            self.malleated,
            self.respelt,
            self.bad_claims,
            self.duplicates,
            self.malformed,
            self.other_kinds,
        ):
            for name, token in make():
                assert token != self.good, name
                yield f"{make.__name__}: {name}", token

    def signed(self, header: Any, claims: Any) -> str:
        """Signed with the real key, whatever the header says."""
        return self.signed_text(dumped(header), dumped(claims))

    def signed_text(self, header: bytes, claims: bytes) -> str:
        """As `signed`, for texts that are no proper JSON."""
        text = f"{b64(header)}.{b64(claims)}"
        return f"{text}.{b64(self._sign(text.encode()))}"

    def _sign(self, text: bytes) -> bytes:
        algorithm: Any = jws.JWSRegistry.algorithms[self.key.algorithm]
        signature: bytes = algorithm.sign(text, self.key.key)
        if self.key.algorithm == "ES256":
            s = int.from_bytes(signature[32:], "big")
            signature = signature[:32] + min(s, P256 - s).to_bytes(32, "big")
        return signature

    def unsigned(self) -> Iterator[Forged]:
        """CVE-2015-9235 and its many children."""
        for name in ("none", "None", "NONE", "nOnE", "NonE", "none ", " none", "", None, 0, [], ["none"]):
            for signature in ("", self.signature, "AA", b64(b"none")):
                for kid in (True, False):
                    header = {"alg": name, "typ": "at+jwt"} | ({"kid": self.header["kid"]} if kid else {})
                    yield f"alg={name!r} {signature[:2]} {kid}", f"{b64(dumped(header))}.{self.body}.{signature}"
        for dropped in ("alg", "kid", "typ"):
            header = {k: v for k, v in self.header.items() if k != dropped}
            yield f"no {dropped}", f"{b64(dumped(header))}.{self.body}."
            yield f"no {dropped}, real signature", f"{b64(dumped(header))}.{self.body}.{self.signature}"

    def confused_algorithms(self) -> Iterator[Forged]:
        """The public key taken for an HMAC secret (CVE-2016-10555), in all its spellings."""
        secrets: dict[str, bytes] = {"empty": b"", "null": b"null", "kid": self.header["kid"].encode()}
        if self.public:
            jwk = {k: v for k, v in self.public.items() if k in ("kty", "crv", "x", "y")}
            made: Any = (OKPKey if jwk["kty"] == "OKP" else ECKey).import_key(jwk)
            raw: Any = made.public_key
            kinds = serialization.PublicFormat.SubjectPublicKeyInfo
            secrets |= {
                "pem": raw.public_bytes(serialization.Encoding.PEM, kinds),
                "pem stripped": raw.public_bytes(serialization.Encoding.PEM, kinds).strip(),
                "der": raw.public_bytes(serialization.Encoding.DER, kinds),
                "x": unb64(jwk["x"]),
                "x text": jwk["x"].encode(),
                "jwk": dumped(jwk),
                "jwk whole": dumped(self.public),
                "jwks": dumped({"keys": [self.public]}),
            }
        for name, secret in secrets.items():
            for algorithm, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
                for kid in (True, False):
                    header = {"alg": algorithm, "typ": self.header["typ"] if kid else "JWT"}
                    header |= {"kid": self.header["kid"]} if kid else {}
                    text = f"{b64(dumped(header))}.{self.body}"
                    yield (
                        f"{algorithm} {name} {kid}",
                        f"{text}.{b64(hmac.new(secret, text.encode(), digest).digest())}",
                    )
        for name in (
            "EdDSA",
            "Ed25519",
            "Ed448",
            "ES256",
            "ES384",
            "ES512",
            "ES256K",
            "PS256",
            "RS256",
            "HS256",
            "dir",
        ):
            if name != self.key.algorithm:
                yield f"renamed {name}", self.signed(self.header | {"alg": name}, self.claims)
        for name in (self.key.algorithm.lower() + " ", self.key.algorithm.swapcase(), [self.key.algorithm], 1, True):
            yield f"respelt {name!r}", self.signed(self.header | {"alg": name}, self.claims)

    def foreign_keys(self) -> Iterator[Forged]:
        """Keys of the attacker's own, under our kid and under theirs."""
        keys: dict[str, Any] = {
            "Ed25519": OKPKey.generate_key("Ed25519"),
            "ES256": ECKey.generate_key("P-256"),
            "ES384": ECKey.generate_key("P-384"),
            "RS256": RSAKey.generate_key(2048),
            "PS256": RSAKey.generate_key(2048),
            "HS256": OctKey.generate_key(256),
            "HS512": OctKey.generate_key(512),
        }
        for algorithm, key in keys.items():
            for kid in (self.header["kid"], "mine", None):
                header = {"alg": algorithm, "typ": "at+jwt"} | ({"kid": kid} if kid else {})
                for typ in ("at+jwt", "JWT"):
                    text = jws.serialize_compact(
                        header | {"typ": typ}, dumped(self.claims), key, algorithms=[algorithm]
                    )
                    yield f"{algorithm} {kid} {typ}", text

    def injected_kids(self) -> Iterator[Forged]:
        """A kid that names a file, a query, a command or something that is no text."""
        kid = self.header["kid"]
        kids: list[Any] = [
            "../../../../dev/null",
            "/dev/null",
            "file:///dev/null",
            "' OR 1=1 --",
            "' UNION SELECT 'k",
        ]
        kids += ["|sleep 5", "`id`", "$(id)", "%00", "\x00", kid + "\x00", kid + " ", " " + kid, kid.upper() + "x"]
        kids += [
            kid[:-1],
            kid * 2,
            "",
            None,
            0,
            1,
            True,
            [kid],
            {"kid": kid},
            "*",
            "%",
            "x" * 2_000,
            "\ud800",
            REMOTE,
        ]
        for found in kids:
            header = self.header | {"kid": found}
            yield f"{found!r:.40}", self.signed(header, self.claims)
            text = f"{b64(dumped(header | {'alg': 'HS256'}))}.{self.body}"
            yield (
                f"{found!r:.40} as a file of nothing",
                f"{text}.{b64(hmac.new(b'', text.encode(), 'sha256').digest())}",
            )

    def brought_keys(self) -> Iterator[Forged]:
        """Headers that bring a key along, or say where one is (CVE-2018-0114); signed by it, and by the real one."""
        mine = OKPKey.generate_key("Ed25519")
        jwk = dict(mine.as_dict(private=False))
        brought: dict[str, Any] = {
            "jku": REMOTE,
            "x5u": REMOTE,
            "jwk": jwk,
            "x5c": ["MIIB"],
            "x5t": "AAAA",
            "x5t#S256": "AAAA",
        }
        variants = [{name: value} for name, value in brought.items()]
        variants += [{"jwk": jwk | {"use": "enc"}}, {"jwk": jwk | {"use": "sig", "key_ops": ["encrypt"]}}]
        variants += [
            {"jwk": jwk | {"kid": self.header["kid"]}},
            {"jwk": None},
            {"jku": ""},
            {"jwk": dict(self.public)},
        ]
        variants += [
            {"jku": url} for url in ("file:///etc/passwd", "http://127.0.0.1/", "//x", "data:application/json,{}")
        ]
        for extra in variants:
            yield f"{extra!r:.50} real key", self.signed(self.header | extra, self.claims)
            header = self.header | extra | {"alg": "Ed25519"}
            yield f"{extra!r:.50} own key", jws_text(header, self.claims, mine)

    def extensions(self) -> Iterator[Forged]:
        """Extensions that nobody understands (RFC 7515 §4.1.11), and unencoded payloads (RFC 7797)."""
        for crit in (["exp"], ["x"], [], "x", None, ["b64"], ["alg"], [1], {"x": 1}, [""], ["x", "x"]):
            yield f"crit={crit!r}", self.signed(self.header | {"crit": crit, "x": 1}, self.claims)
        yield "b64=false", self.signed(self.header | {"b64": False, "crit": ["b64"]}, self.claims)
        yield "b64=true", self.signed(self.header | {"b64": True}, self.claims)
        for extra in ({"zip": "DEF"}, {"enc": "A256GCM"}, {"cty": "JWT"}):
            yield f"{extra}", self.signed(self.header | extra, self.claims)

    def bad_signatures(self) -> Iterator[Forged]:
        """Cut, stretched, of another token, of zeros (CVE-2022-21449), and with each bit turned."""
        raw, text = unb64(self.signature), f"{self.head}.{self.body}"
        for cut in range(1, len(self.signature) + 1):
            yield f"cut by {cut}", f"{text}.{self.signature[:-cut]}"
        for bit in range(0, len(raw) * 8, 3):
            turned = bytearray(raw)
            turned[bit // 8] ^= 1 << bit % 8
            yield f"bit {bit}", f"{text}.{b64(bytes(turned))}"
        for name, other in {
            "zeros": bytes(len(raw)),
            "ones": b"\xff" * len(raw),
            "doubled": raw * 2,
            "longer": raw + b"\x00",
            "leading zero": b"\x00" + raw,
            "hash": hashlib.sha256(text.encode()).digest(),
            "one": bytes(len(raw) // 2 - 1) + b"\x01" + bytes(len(raw) // 2 - 1) + b"\x01",
            "reversed": raw[::-1],
        }.items():
            yield name, f"{text}.{b64(other)}"
        changed = b64(dumped(self.claims | {"sub": "2"}))
        yield "of other claims", f"{self.head}.{changed}.{self.signature}"
        yield "roles added", f"{self.head}.{b64(dumped(self.claims | {'roles': ['admin']}))}.{self.signature}"
        yield "later expiry", f"{self.head}.{b64(dumped(self.claims | {'exp': 2**33}))}.{self.signature}"

    def malleated(self) -> Iterator[Forged]:
        """Other signatures that mathematics allows of a good one."""
        raw, text = unb64(self.signature), f"{self.head}.{self.body}"
        if self.key.algorithm == "Ed25519":
            s = int.from_bytes(raw[32:], "little")
            for times in range(1, 16):
                larger = s + times * ED25519
                if larger < 2**256:
                    yield f"S + {times} L", f"{text}.{b64(raw[:32] + larger.to_bytes(32, 'little'))}"
            for point in ("00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f", "26e8958fc2b227b045c3f489f2ef98f0"):
                small = bytes.fromhex(point).ljust(32, bytes(1))
                yield f"small order {point[:4]}", f"{text}.{b64(small + raw[32:])}"
                yield f"small order {point[:4]}, S=0", f"{text}.{b64(small + bytes(32))}"
        if self.key.algorithm == "ES256":
            r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
            for name, pair in {"n - s": (r, P256 - s), "swapped": (s, r), "r=0": (0, s), "s=0": (r, 0)}.items():
                yield name, f"{text}.{b64(pair[0].to_bytes(32, 'big') + pair[1].to_bytes(32, 'big'))}"
            yield "n, n", f"{text}.{b64(P256.to_bytes(32, 'big') * 2)}"
            from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

            yield "DER", f"{text}.{b64(encode_dss_signature(r, s))}"

    def respelt(self) -> Iterator[Forged]:
        """The same token in other letters: base64 that is not canonical, padding, white space."""
        parts = [self.head, self.body, self.signature]
        for i, part in enumerate(parts):
            rest = len(part) % 4
            if rest in (2, 3):
                last = ALPHABET.index(part[-1])
                for step in range(1, 16 if rest == 2 else 4):
                    yield f"{i} last letter + {step}", _with(parts, i, part[:-1] + ALPHABET[last ^ step])
            for tail in ("=", "==", "A", "AAAA", "\n", " ", "\t", "%3D", "."):
                yield f"{i} + {tail!r}", _with(parts, i, part + tail)
            yield f"{i} inner padding", _with(parts, i, part[:4] + "=" + part[4:])
            yield f"{i} inner space", _with(parts, i, part[:4] + " " + part[4:])
            yield f"{i} standard letters", _with(parts, i, part[:3] + "+/" + part[5:])
            yield f"{i} not ASCII", _with(parts, i, part[:3] + "é" + part[4:])
            yield f"{i} empty", _with(parts, i, "")
            yield f"{i} length 1 mod 4", _with(parts, i, part[: len(part) // 4 * 4 - 3])
        for name, head in {"padded": self.head + "==", "spaced": self.head + " "}.items():
            text = f"{head}.{self.body}"
            yield f"signed {name}", f"{text}.{b64(self._sign(text.encode()))}"

    def bad_claims(self) -> Iterator[Forged]:
        """Signed by us, and not for now, not for here, not from us, or of the wrong type."""
        now = int(time.time())
        wrong: dict[str, list[Any]] = {
            "exp": [now - 1, 0, -1, None, str(now + 900), "never", [now + 900], {}, True, float(now - 60), -1e300],
            "nbf": [now + 60, 2**40, "0", None, True, [], {}, 1e308],
            "iat": [now + 60, 2**40, "0", None, False, [], {}],
            "iss": ["evil", "", None, 0, ["people"], {"people": 1}, "people ", "PEOPLE", "people/"],
            "aud": ["evil", "", None, 0, ["people"], ["people", "evil"], ["evil"], [], {"people": 1}, "People"],
            "sub": ["2", "", None, 1, 1.0, True, ["1"], {}, "1 ", " 1", "01", "1\x00", "x" * 1_000, "1 OR 1=1", "١"],
            "sid": [
                "0",
                "-1",
                "",
                None,
                1,
                1.0,
                ["1"],
                "1 ",
                "1.0",
                "99999",
                "9" * 30,
                "x",
                "1 OR 1=1",
                "١",
                "0x1",
                "01",
            ],
        }
        for name, values in wrong.items():
            for value in values:
                yield f"{name}={value!r:.30}", self.signed(self.header, self.claims | {name: value})
        for name in ("exp", "iss", "aud", "sub", "sid"):
            yield f"no {name}", self.signed(self.header, {k: v for k, v in self.claims.items() if k != name})
        for typ in (
            "JWT",
            "jwt",
            "",
            None,
            "id_token",
            "logout+jwt",
            "dpop+jwt",
            "at+jwt ",
            "application/at+jwt",
            ["at+jwt"],
        ):
            yield f"typ={typ!r}", self.signed(self.header | {"typ": typ}, self.claims)
        for text in (b"Infinity", b"-Infinity", b"NaN", b"1e999", b"9" * 400):
            claims = dumped(self.claims | {"exp": 0}).replace(b'"exp":0', b'"exp":' + text)
            yield f"exp={text[:10]!r}", self.signed_text(dumped(self.header), claims)

    def duplicates(self) -> Iterator[Forged]:
        """Members that occur twice: two readers may take different ones."""
        header, claims = dumped(self.header), dumped(self.claims)
        for name in (*self.header, "x"):
            first = dumped({name: self.header.get(name, 1)})[1:-1]
            for other in (dumped({name: "none"})[1:-1], first):
                doubled = b"{" + other + b"," + first + b"," + header[1:]
                yield f"header {name} {other[:12]!r}", self.signed_text(doubled, claims)
                yield (
                    f"header {name} {other[:12]!r} last",
                    self.signed_text(header[:-1] + b"," + other + b"," + first + b"}", claims),
                )
        for name in self.claims:
            first = dumped({name: self.claims[name]})[1:-1]
            for other in (first, dumped({name: "2"})[1:-1], dumped({name: 2**33})[1:-1]):
                yield f"claim {name} {other[-6:]!r}", self.signed_text(header, b"{" + other + b"," + claims[1:])
                yield f"claim {name} {other[-6:]!r} last", self.signed_text(header, claims[:-1] + b"," + other + b"}")
        escaped = claims[:-1] + b',"\\u0073ub":"2"}'
        yield "claim sub escaped", self.signed_text(header, escaped)

    def malformed(self) -> Iterator[Forged]:
        """What is no compact JWS of two objects."""
        header, claims = dumped(self.header), dumped(self.claims)
        yield from {
            "two parts": f"{self.head}.{self.body}",
            "one part": self.head,
            "four parts": f"{self.good}.{self.signature}",
            "five parts": f"{self.head}....",
            "dots": "..",
            "leading dot": f".{self.good}",
            "JSON": json.dumps({"protected": self.head, "payload": self.body, "signature": self.signature}),
            "twice": f"{self.good}{self.good}",
            "list": f"{self.good},{self.good}",
            "too long": f"{self.head}.{b64(dumped(self.claims | {'x': 'x' * 5_000}))}.{self.signature}",
            "word": "undefined",
            "null": "null",
        }.items()
        for text in (
            b"",
            b"null",
            b"[]",
            b'"x"',
            b"1",
            b"{",
            b"{}x",
            b"\xff",
            b"\xef\xbb\xbf" + claims,
            claims + b"x",
        ):
            yield f"claims {text[:8]!r}", self.signed_text(header, text)
            yield f"header {text[:8]!r}", self.signed_text(text, claims)
        yield "claims UTF-16", self.signed_text(header, claims.decode().encode("utf-16"))
        deep = claims[:-1] + b',"x":' + b"[" * 2_000
        yield "deep", f"{self.head}.{b64(deep)}.{self.signature}"
        deep = header[:-1] + b',"x":' + b"[" * 900 + b"]" * 900 + b"}"
        yield "deep header", f"{b64(deep)}.{self.body}.{self.signature}"
        yield "list of claims", self.signed(self.header, [self.claims])
        yield "single quotes", self.signed_text(header, claims.replace(b'"', b"'"))
        yield "trailing comma", self.signed_text(header, claims[:-1] + b",}")
        yield "comment", self.signed_text(header, b"/**/" + claims)

    def other_kinds(self) -> Iterator[Forged]:
        """What is a token of another kind, or of another server's secret."""
        now = int(time.time())
        operator = {"sub": "1", "roles": ["admin"], "exp": now + 900}
        for name, secret in {
            "other": "another secret of more than thirty-two bytes",
            "cut": self.secret[:-1],
        }.items():
            for algorithm, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
                text = f"{b64(dumped({'alg': algorithm, 'typ': 'JWT'}))}.{b64(dumped(operator))}"
                yield (
                    f"{name} {algorithm}",
                    f"{text}.{b64(hmac.new(secret.encode(), text.encode(), digest).digest())}",
                )
        for header in (
            {"alg": "HS384", "typ": "JWT"},
            {"alg": "HS512", "typ": "JWT"},
            {"alg": "HS256", "typ": "at+jwt"},
            {"alg": "HS256", "typ": "JWT", "kid": self.header["kid"]},
            {"alg": "HS256", "typ": "at+jwt", "kid": self.header["kid"]},
            {"alg": "HS256", "typ": "JWT", "crit": ["x"]},
            {"alg": "HS256", "typ": "JWT", "jku": REMOTE},
        ):
            digest = {"HS384": "sha384", "HS512": "sha512"}.get(header["alg"], "sha256")
            text = f"{b64(dumped(header))}.{b64(dumped(operator))}"
            yield f"secret {header}", f"{text}.{b64(hmac.new(self.secret.encode(), text.encode(), digest).digest())}"
        good = {"alg": "HS256", "typ": "JWT"}
        for claims in (
            operator | {"exp": now - 1},
            operator | {"exp": str(now + 900)},
            operator | {"sub": 1},
            operator | {"sub": ""},
            operator | {"roles": "admin"},
            operator | {"roles": [1]},
            operator | {"nbf": now + 900},
            {"sub": "1", "roles": []},
        ):
            text = f"{b64(dumped(good))}.{b64(dumped(claims))}"
            yield (
                f"operator {claims}",
                f"{text}.{b64(hmac.new(self.secret.encode(), text.encode(), 'sha256').digest())}",
            )


def _with(parts: list[str], i: int, part: str) -> str:
    return ".".join([*parts[:i], part, *parts[i + 1 :]])


def jws_text(header: Mapping[str, Any], claims: Any, key: Any) -> str:
    """Signed by a key of the attacker's own, whatever the header says."""
    text = f"{b64(dumped(header))}.{b64(dumped(claims))}"
    algorithm: Any = jws.JWSRegistry.algorithms["Ed25519"]
    return f"{text}.{b64(algorithm.sign(text.encode(), key))}"
