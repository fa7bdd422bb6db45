"""A provider that people sign in with, as a process: OpenID Connect at /acme and /other, OAuth 2.0 at /github.

It asks nobody for a password: who comes is in the query (`sub`, `email`, `email_verified`), and `fault` names a lie
that the tokens of this sign-in tell. Everything else is as the standards have it: discovery, keys, codes that are
good once, PKCE, client authentication.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote_plus, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

CLIENT, SECRET = "backstay", "a secret with /+ and : in it"
TENANTS = ("acme", "other")


def b64(raw: bytes) -> str:
    """base64url."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Tenant:
    """One issuer, with its keys."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.key = RSAKey.generate_key(2048)
        self.foreign = RSAKey.generate_key(2048)
        self.elliptic = ECKey.generate_key("P-256")
        self.kid, self.rotated = "k1", 0

    def rotate(self) -> None:
        """Sign with another key from now on."""
        self.rotated += 1
        self.key, self.kid = RSAKey.generate_key(2048), f"k{self.rotated + 1}"

    def jwks(self) -> dict[str, Any]:
        """The public keys."""
        public = dict(self.key.as_dict(private=False)) | {"kid": self.kid, "use": "sig", "alg": "RS256"}
        elliptic = dict(self.elliptic.as_dict(private=False)) | {"kid": "ec", "use": "sig"}
        encrypting = dict(self.foreign.as_dict(private=False)) | {"kid": "enc", "use": "enc"}
        return {"keys": [public, elliptic, encrypting]}

    def discovery(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def id_token(self, grant: dict[str, str], access: str) -> str:
        """The ID token of a sign-in, with the lie that it asked for."""
        fault, now = grant.get("fault", ""), int(time.time())
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": CLIENT,
            "azp": CLIENT,
            "sub": grant["sub"],
            "nonce": grant.get("nonce"),
            "iat": now,
            "exp": now + 300,
            "at_hash": b64(half),
        }
        if fault != "userinfo":
            claims |= profile(grant)
        claims |= {
            "nonce": {"nonce": "another"},
            "audience": {"aud": "another"},
            "audiences": {"aud": [CLIENT, "another"]},
            "azp": {"azp": "another"},
            "issuer": {"iss": self.issuer + "x"},
            "expired": {"exp": now - 120},
            "future": {"iat": now + 3_600},
            "at_hash": {"at_hash": b64(b"0" * 16)},
            "text_exp": {"exp": "tomorrow"},
            "nobody": {"sub": ""},
        }.get(fault, {})
        if fault == "no_nonce":
            del claims["nonce"]
        return self.signed(json.dumps(claims).encode(), fault)

    def signed(self, claims: bytes, fault: str) -> str:
        """Signed, or not quite."""
        header: dict[str, Any] = {"alg": "RS256", "kid": self.kid}
        if fault == "unsigned":
            return f"{b64(json.dumps({'alg': 'none'}).encode())}.{b64(claims)}."
        if fault == "public_key_as_secret":
            text = f"{b64(json.dumps(header | {'alg': 'HS256'}).encode())}.{b64(claims)}"
            return f"{text}.{b64(hmac.digest(self.key.as_pem(private=False), text.encode(), 'sha256'))}"
        if fault == "elliptic":
            return jws.serialize_compact({"alg": "ES256", "kid": "ec"}, claims, self.elliptic, algorithms=["ES256"])
        if fault == "own_key":
            header["jwk"] = dict(self.foreign.as_dict(private=False))
        key = self.foreign if fault in ("foreign_key", "unknown_key", "encryption_key", "own_key") else self.key
        header |= {"unknown_key": {"kid": "k99"}, "encryption_key": {"kid": "enc"}}.get(fault, {})
        token = jws.serialize_compact(header, claims, key, algorithms=["RS256"])
        if fault == "tampered":
            head, body, signature = token.split(".")
            changed = json.loads(base64.urlsafe_b64decode(body + "==")) | {"sub": "admin"}
            return f"{head}.{b64(json.dumps(changed).encode())}.{signature}"
        return "not.a.token" if fault == "garbage" else token


def profile(grant: dict[str, str]) -> dict[str, Any]:
    """What a person's profile says."""
    found: dict[str, Any] = {"email": grant["email"]} if "email" in grant else {}
    verified = grant.get("email_verified")
    return found if verified is None else found | {"email_verified": verified == "true"}


class Server(ThreadingHTTPServer):
    """Keeps the codes and tokens that were given."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.tenants = {name: Tenant(f"http://127.0.0.1:{port}/{name}") for name in TENANTS}
        self.codes: dict[str, dict[str, str]] = {}
        self.access: dict[str, dict[str, str]] = {}


class Handler(BaseHTTPRequestHandler):
    """Its endpoints."""

    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Discovery, keys, the page that people sign in on, profiles."""
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        name, _, rest = parts.path.strip("/").partition("/")
        if parts.path == "/health/live":
            return self.answer(200, {})
        if name == "github" and rest == "login/oauth/authorize":
            return self.authorize(query, "")
        if name == "github":
            return self.github(rest)
        tenant = self.server.tenants.get(name)
        if tenant is None:
            return self.answer(404, {})
        if rest == "authorize":
            return self.authorize(query, tenant.issuer)
        if rest == "rotate":
            tenant.rotate()
        if rest == "userinfo":
            grant = self.bearer()
            return self.answer(200, {"sub": grant["sub"], **profile(grant)}) if grant else self.answer(401, {})
        found = {".well-known/openid-configuration": tenant.discovery, "jwks": tenant.jwks, "rotate": tenant.jwks}
        return self.answer(200, found[rest]()) if rest in found else self.answer(404, {})

    def do_POST(self) -> None:
        """The token endpoint."""
        raw = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {name: values[0] for name, values in parse_qs(raw).items()}
        name = self.path.strip("/").partition("/")[0]
        if name == "github":
            known = (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        else:
            pair = base64.b64encode(f"{quote_plus(CLIENT)}:{quote_plus(SECRET)}".encode()).decode()
            known = self.headers["authorization"] == f"Basic {pair}"
        if not known:
            return self.answer(401, {"error": "invalid_client"})
        grant = self.server.codes.pop(form.get("code", ""), None)
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            grant is None
            or grant["tenant"] != name
            or grant["redirect_uri"] != form.get("redirect_uri")
            or grant["code_challenge"] != challenge
        ):
            return self.answer(200 if name == "github" else 400, {"error": "invalid_grant"})
        access = b64(hashlib.sha256(form["code"].encode()).digest())
        self.server.access[access] = grant
        told = {"access_token": access, "token_type": "bearer" if name == "github" else "Bearer", "expires_in": 300}
        if name != "github":
            told["id_token"] = self.server.tenants[name].id_token(grant, access)
        if grant.get("fault") == "no_id_token":
            told.pop("id_token")
        return self.answer(200, told)

    def authorize(self, query: dict[str, str], issuer: str) -> None:
        """Send who came back with a code."""
        if query.get("code_challenge_method") != "S256" or query.get("client_id") != CLIENT:
            return self.answer(400, {"error": "invalid_request"})
        code = b64(hashlib.sha256(repr((query, time.time_ns())).encode()).digest())
        tenant = urlsplit(self.path).path.strip("/").partition("/")[0]
        self.server.codes[code] = query | {"tenant": tenant}
        told = {"code": code, "state": query["state"]} | ({"iss": issuer} if issuer else {})
        if query.get("fault") == "denied":
            told = {"error": "access_denied", "state": query["state"], "iss": issuer}
        self.send_response(302)
        self.send_header("location", f"{query['redirect_uri']}?{urlencode(told)}")
        self.end_headers()
        return None

    def github(self, rest: str) -> None:
        """GitHub's profile and addresses."""
        grant = self.bearer()
        if not grant:
            return self.answer(401, {})
        if rest == "api/user":
            return self.answer(200, {"id": int(grant["sub"]), "login": "octocat", "email": "public@example.org"})
        address = {"email": grant["email"], "primary": True, "verified": grant.get("email_verified") == "true"}
        return self.answer(200, [{"email": "x@example.org", "primary": False, "verified": True}, address])

    def bearer(self) -> dict[str, str] | None:
        """Whose access token a request has."""
        return self.server.access.get((self.headers["authorization"] or "").removeprefix("Bearer "))

    def answer(self, status: int, body: Any) -> None:
        """JSON."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve_forever()
