"""Sign-in with a real provider process over HTTP: every lie is refused first, then what holds, on both databases."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import sqlalchemy as sa

from backstay import AccountOptions, OperatorError, Provider
from backstay.schema.base import utc_now
from support import oidc_provider
from support.asgi import Answer
from support.databases import DATABASES
from support.oidc_provider import CLIENT, SECRET
from support.people import CHEAP, PASSWORD, People, Person, people
from support.server import free_port

HOME = "https://people.example"
FLOW = "__Host-backstay_oauth"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Lets the test follow them."""

    def redirect_request(self, *_: Any) -> None:
        """Do not."""


VISIT = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of a provider process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, oidc_provider.__file__, str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1_000):
            assert process.poll() is None
            try:
                VISIT.open(f"{url}/health/live", timeout=2).close()
                break
            except OSError:
                time.sleep(0.01)
        yield url
    finally:
        process.kill()
        process.wait()


def options(url: str, **more: Any) -> AccountOptions:
    """Accounts with its two issuers, and its GitHub."""
    two = [
        Provider.oidc(name, issuer=f"{url}/{name}", client_id=CLIENT, client_secret=SECRET)
        for name in ("acme", "other")
    ]
    hub = Provider.github(client_id=CLIENT, client_secret=SECRET, url=f"{url}/github", api_url=f"{url}/github/api")
    origins = ["https://shop.example"]
    return AccountOptions(verify_email=False, hashing=CHEAP, providers=[*two, hub], return_origins=origins, **more)


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path, provider: str) -> Iterator[People]:
    """The app on each database."""
    with people(request.param, tmp_path, options(provider), public_url=HOME) as opened:
        yield opened


class Browser:
    """Keeps cookies, and goes where it is sent."""

    def __init__(self, client: People) -> None:
        self.client = client
        self.cookies: dict[str, str] = {}

    def send(self, method: str, path: str, query: Any = (), **options: Any) -> Answer:
        """One request to the app."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode()
        answer = self.client.request(method, path, query, more=[(b"cookie", cookie)], **options)
        for raw in answer.cookies:
            for name, morsel in SimpleCookie(raw).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return answer

    def begin(self, name: str = "acme", **query: str) -> str:
        """Begin a sign-in; where it goes."""
        answer = self.send("GET", f"/auth/oauth/{name}", list(query.items()))
        assert answer.status == 303, answer.body
        return answer.headers["location"]

    def at_provider(self, url: str, **person: str) -> dict[str, str]:
        """Sign in there; what the provider sends back."""
        with pytest.raises(urllib.error.HTTPError) as sent:
            VISIT.open(f"{url}&{urlencode(person)}", timeout=5)
        sent.value.close()
        back = sent.value.headers["location"]
        assert back.startswith(f"{HOME}/api/v1/auth/oauth/"), back
        return dict(parse_qsl(urlsplit(back).query))

    def back(self, told: dict[str, str], name: str = "acme") -> Answer:
        """Come back with it."""
        return self.send("GET", f"/auth/oauth/{name}/callback", list(told.items()))

    def sign_in(self, name: str = "acme", *, mode: str = "token", **person: str) -> Answer:
        """All of it."""
        given = {"sub": "42", "email": "ada@example.org", "email_verified": "true"} | person
        return self.back(self.at_provider(self.begin(name, mode=mode), **given), name)


@pytest.fixture
def browser(client: People) -> Browser:
    """One that is not signed in."""
    return Browser(client)


def refused(browser: Browser, answer: Answer, code: str = "OAUTH_FAILED") -> None:
    """See that it led to nothing: no session, no account, no cookie, no identity."""
    client = browser.client
    assert (answer.json["code"], 400 <= answer.status < 500) == (code, True), answer.body
    tables = client.accounts().tables
    assert client.run(sa.select(tables.sessions.c.id)) == []
    assert client.run(sa.select(tables.identities.c.id)) == []
    assert [name for name in browser.cookies if not name.endswith("oauth")] == []
    assert "access_token" not in answer.body.decode()


@pytest.mark.parametrize(
    "fault",
    [
        *("nonce", "no_nonce", "audience", "audiences", "azp", "issuer", "expired", "future", "at_hash", "text_exp"),
        *("nobody", "unsigned", "public_key_as_secret", "foreign_key", "unknown_key", "encryption_key", "own_key"),
        *("tampered", "garbage", "no_id_token", "denied"),
    ],
)
def test_lies_of_a_provider(browser: Browser, fault: str) -> None:
    """A token that is not as it must be signs nobody in."""
    refused(browser, browser.sign_in(fault=fault))
    assert FLOW not in browser.cookies, "a failed sign-in is over"
    assert [dict(event.details)["why"] for event in browser.client.events("login_failed")] == ["oauth:oauth_failed"]


def test_wrong_states(browser: Browser) -> None:
    """None, another, that of another browser, or no cookie at all."""
    for wrong in ("", "x", "x" * 43):
        told = browser.at_provider(browser.begin(), sub="1")
        refused(browser, browser.back(told | {"state": wrong}))
    told = browser.at_provider(browser.begin(), sub="1")
    del told["state"]
    refused(browser, browser.back(told))
    other = Browser(browser.client)
    other.begin()
    refused(other, other.back(browser.at_provider(browser.begin(), sub="1")))
    fresh = Browser(browser.client)
    refused(fresh, fresh.back(browser.at_provider(browser.begin(), sub="1")))
    fresh.cookies[FLOW] = "AAAA" + browser.cookies[FLOW][4:]
    refused(fresh, fresh.back(told))
    fresh.cookies[FLOW] = "é"
    refused(fresh, fresh.back(told))


def test_a_code_of_another_request(browser: Browser) -> None:
    """PKCE: a code that was made for another verifier is refused by the provider, and signs nobody in."""
    stolen = Browser(browser.client)
    victim = stolen.at_provider(stolen.begin(), sub="1")
    mine = browser.at_provider(browser.begin(), sub="2")
    refused(browser, browser.back(mine | {"code": victim["code"]}))


def test_a_code_is_good_once(browser: Browser) -> None:
    """Also for who has its cookie still."""
    told = browser.at_provider(browser.begin(mode="token"), sub="1")
    kept = dict(browser.cookies)
    assert browser.back(told).status == 200
    browser.cookies = kept
    again = browser.back(told)
    assert (again.status, again.json["code"]) == (400, "OAUTH_FAILED")
    assert len(browser.client.run(sa.select(browser.client.accounts().tables.sessions.c.id))) == 1


def test_providers_are_not_mixed_up(browser: Browser) -> None:
    """An answer counts for the provider that was asked, and says which it is of."""
    told = browser.at_provider(browser.begin("acme"), sub="1")
    refused(browser, browser.back(told, "other"))
    told = browser.at_provider(browser.begin("acme"), sub="1")
    refused(browser, browser.back(told | {"iss": told["iss"].replace("acme", "other")}))
    told = browser.at_provider(browser.begin("acme"), sub="1")
    del told["iss"]
    refused(browser, browser.back(told))
    for path in ("/auth/oauth/nobody", "/auth/oauth/nobody/callback", "/auth/oauth/ACME"):
        assert browser.send("GET", path).status == 404


def test_a_sign_in_that_takes_too_long(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is over after ten minutes, whatever the browser still has."""
    told = browser.at_provider(browser.begin(), sub="1")
    now = time.time()
    monkeypatch.setattr("backstay.accounts.flows.time.time", lambda: now + 601)
    refused(browser, browser.back(told))


@pytest.mark.parametrize(
    "return_to",
    [
        *("//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)"),
        *("https://shop.example.evil.example", "https://shop.example@evil.example", "http://shop.example/", "x"),
        *("/\t/evil.example", "/%0d\r\nset-cookie: a=b", "https:shop.example", "", "/é", "///evil.example"),
    ],
)
def test_nobody_is_sent_elsewhere(browser: Browser, return_to: str) -> None:
    """Only to paths here and to origins that the program names."""
    answer = browser.send("GET", "/auth/oauth/acme", [("return_to", return_to)])
    assert (answer.status, [e["field"] for e in answer.json["errors"]]) == (400, ["return_to"])


def test_an_unverified_address_leads_nowhere(browser: Browser) -> None:
    """Whoever claims an address at a provider does not get its account, nor does the new account get the address."""
    client = browser.client
    client.register("ada@example.org")
    client.change(1, email_verified_at=utc_now())
    for number, verified in enumerate(("false", "")):
        person = {"sub": f"evil{number}", "email": "ada@example.org", "email_verified": verified}
        answer = browser.sign_in(**person)
        me = client.me("Bearer " + answer.data["access_token"]).data
        assert (me["id"] != 1, me["email"]) == (True, None)


def test_an_account_with_an_unproven_address_is_not_linked(browser: Browser) -> None:
    """Somebody made it with another's address, and waits for them to sign in."""
    client = browser.client
    client.register("ada@example.org")
    answer = browser.sign_in()
    assert (answer.status, answer.json["code"]) == (409, "CONFLICT")
    assert client.run(sa.select(client.accounts().tables.identities)) == []


def test_a_provider_whose_word_is_not_enough(tmp_path: Path, provider: str) -> None:
    """It leads to accounts that are linked by their owners only."""
    given = options(provider)
    given = replace(given, providers=[replace(given.providers[0], links_by_email=False)])
    with people("sqlite", tmp_path, given, public_url=HOME) as client:
        client.register("ada@example.org")
        client.change(1, email_verified_at=utc_now())
        assert Browser(client).sign_in().json["code"] == "CONFLICT"
        fresh = Browser(client).sign_in(sub="7", email="eve@example.org")
        assert client.me("Bearer " + fresh.data["access_token"]).data["email"] is None


def test_closed_registration(tmp_path: Path, provider: str) -> None:
    """A provider makes no account where nobody registers; who has one signs in."""
    with people("sqlite", tmp_path, options(provider, registration=False), public_url=HOME) as client:
        refused(Browser(client), Browser(client).sign_in(), "FORBIDDEN")
        client.run(sa.insert(Person).values(email="ada@example.org", email_verified_at=utc_now()))
        assert Browser(client).sign_in().status == 200


def test_a_provider_that_is_down(tmp_path: Path) -> None:
    """It is said so, and nobody waits long."""
    gone = Provider.oidc("acme", issuer=f"http://127.0.0.1:{free_port()}", client_id="x")
    with people("sqlite", tmp_path, AccountOptions(providers=[gone], hashing=CHEAP), public_url=HOME) as client:
        answer = client.get("/auth/oauth/acme")
        assert (answer.status, answer.json["code"]) == (503, "PROVIDER_UNAVAILABLE")
    with people("sqlite", tmp_path, AccountOptions(providers=[gone], hashing=CHEAP)) as client:
        assert client.get("/auth/oauth/acme").json["code"] in ("PROVIDER_UNAVAILABLE", "ADDRESS_UNKNOWN")


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://id.example"},
        {"issuer": "ftp://id.example"},
        {"issuer": "https://user@id.example"},
        {"issuer": ""},
        {"client_id": ""},
        {"name": "A/b"},
    ],
)
def test_providers_that_cannot_be(wrong: dict[str, str]) -> None:
    """The operator is told before anything starts."""
    given: dict[str, Any] = {"name": "acme", "issuer": "https://id.example", "client_id": "x"} | wrong
    with pytest.raises(OperatorError):
        Provider.oidc(given.pop("name"), **given)
    assert "hidden" not in repr(Provider.oidc("a", issuer="https://a.example", client_id="x", client_secret="hidden"))


def test_a_browser_signs_in(browser: Browser) -> None:
    """With cookies, and is sent to where it wanted to go; a second time it is the same account."""
    client = browser.client
    for _ in range(2):
        there = browser.begin(return_to="/welcome?x=1")
        asked = dict(parse_qsl(urlsplit(there).query))
        assert asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] == f"{HOME}/api/v1/auth/oauth/acme/callback"
        told = browser.at_provider(there, sub="42", email="Ada@Example.org", email_verified="true")
        answer = browser.back(told)
        assert (answer.status, answer.headers["location"]) == (303, "/welcome?x=1")
        assert FLOW not in browser.cookies
        me = browser.send("GET", "/auth/me").data
        assert (me["id"], me["email"]) == (1, "ada@example.org")
        assert me["email_verified_at"] is not None
    [session, _] = browser.send("GET", "/auth/sessions").data
    assert session["kind"] == "oauth:acme"
    assert browser.begin(return_to="https://shop.example/x").startswith("http")
    assert len(client.events("registered")) == 1


def test_the_cookie_of_a_sign_in(client: People) -> None:
    """No script reads it, no other site sets it, and nobody reads what is in it."""
    answer = client.get("/auth/oauth/acme")
    [cookie] = answer.cookies
    asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    for word in ("__Host-", "HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=600"):
        assert word in cookie
    assert asked["state"] not in cookie
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("fault", ["", "elliptic", "userinfo"])
def test_tokens_are_given(browser: Browser, fault: str) -> None:
    """To who asks for them; signed by either key, the address in the token or in the profile."""
    answer = browser.sign_in(fault=fault)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    credential = "Bearer " + answer.data["access_token"]
    assert browser.client.me(credential).data["email"] == "ada@example.org"


def test_a_verified_address_leads_to_its_account(browser: Browser) -> None:
    """Where the account has proven it too; then each of its ways signs in to it."""
    client = browser.client
    client.register("ada@example.org")
    client.change(1, email_verified_at=utc_now())
    for name, subject in (("acme", "1"), ("other", "1"), ("github", "99")):
        answer = browser.sign_in(name, sub=subject)
        assert client.me("Bearer " + answer.data["access_token"]).data["id"] == 1, name
    assert client.login("ada@example.org").status == 200


def test_a_disabled_user_does_not_come_in(browser: Browser) -> None:
    """By a provider neither."""
    assert browser.sign_in().status == 200
    browser.client.change(1, disabled_at=utc_now())
    assert browser.sign_in().json["code"] == "FORBIDDEN"


def test_an_account_is_linked(browser: Browser) -> None:
    """By who is signed in to it, whatever the address; another's identity is not taken away."""
    client = browser.client
    credential = client.signed_in("ada@example.org")
    assert browser.send("POST", "/auth/oauth/acme/link", body={}).status == 401
    elsewhere = {"return_to": "//evil.example"}
    assert browser.send("POST", "/auth/oauth/acme/link", body=elsewhere, credential=credential).status == 400
    told = browser.at_provider(link_url(browser, credential), sub="7", email="x@y.example")
    assert browser.back(told).status == 303
    [identity] = client.get("/auth/identities", credential=credential).data
    assert (identity["provider"], identity["email"]) == ("acme", "x@y.example")
    assert client.me("Bearer " + browser.sign_in(sub="7").data["access_token"]).data["id"] == 1
    other = client.signed_in("bob@example.org")
    told = browser.at_provider(link_url(browser, other), sub="7")
    assert browser.back(told).json["code"] == "CONFLICT"
    assert client.request("DELETE", f"/auth/identities/{identity['id']}", credential=other).status == 404
    assert client.request("DELETE", f"/auth/identities/{identity['id']}", credential=credential).status == 204
    assert client.get("/auth/identities", credential=credential).data == []


def link_url(browser: Browser, credential: str) -> str:
    """Where a browser goes to link its account."""
    return browser.send("POST", "/auth/oauth/acme/link", body={}, credential=credential).data["url"]


def test_a_link_of_a_session_that_ended(browser: Browser) -> None:
    """It links nothing."""
    credential = browser.client.signed_in("ada@example.org")
    told = browser.at_provider(link_url(browser, credential), sub="7")
    browser.client.post("/auth/logout", None, credential=credential)
    assert browser.back(told).json["code"] == "OAUTH_FAILED"
    assert browser.client.run(sa.select(browser.client.accounts().tables.identities)) == []


def test_the_last_way_in_stays(browser: Browser) -> None:
    """Who has no password does not shut themselves out."""
    credential = "Bearer " + browser.sign_in().data["access_token"]
    [identity] = browser.client.get("/auth/identities", credential=credential).data
    path = f"/auth/identities/{identity['id']}"
    assert browser.client.request("DELETE", path, credential=credential).json["code"] == "CONFLICT"
    assert len(browser.client.get("/auth/identities", credential=credential).data) == 1
    assert browser.client.login("ada@example.org", PASSWORD).status == 401


def test_keys_of_a_provider_change(browser: Browser, provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of a new key is believed once the keys are read again; that is not done for each."""
    assert browser.sign_in().status == 200
    VISIT.open(f"{provider}/acme/rotate", timeout=5).close()
    assert browser.sign_in().json["code"] == "OAUTH_FAILED", "they were read a moment ago"
    monkeypatch.setattr("backstay.auth.provider_client.AGAIN_S", 0)
    assert browser.sign_in().status == 200


def test_no_secret_is_kept_or_told(browser: Browser) -> None:
    """Neither the provider's tokens nor the client's secret."""
    there = browser.begin(mode="token")
    told = browser.at_provider(there, sub="42", email="ada@example.org", email_verified="true")
    answer = browser.back(told)
    tables = browser.client.accounts().tables
    seen = str([browser.client.run(sa.select(table)) for table in tables.all()]) + there + answer.body.decode()
    for secret in (SECRET, told["code"]):
        assert secret not in seen
