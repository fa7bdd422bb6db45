"""Sessions of browsers: forged requests first, then what the cookies are, on both databases."""

from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest

from support.asgi import Answer
from support.databases import DATABASES
from support.people import PASSWORD, People, bearer_of, people

ACCESS, REFRESH, CSRF = ("__Host-backstay_access", "__Host-backstay_refresh", "__Host-backstay_csrf")


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database."""
    with people(request.param, tmp_path) as opened:
        yield opened


class Browser:
    """Keeps cookies and sends them; `csrf` is what its page sends in the header."""

    def __init__(self, client: People) -> None:
        self.client = client
        self.cookies: dict[str, str] = {}

    def send(self, method: str, path: str, body: Any = None, *, csrf: str | None = None) -> Answer:
        """One request."""
        more = [(b"cookie", "; ".join(f"{n}={v}" for n, v in self.cookies.items()).encode())]
        more += [(b"x-csrf-token", csrf.encode())] if csrf is not None else []
        answer = self.client.request(method, path, body=body, more=more)
        for name, morsel in [pair for raw in answer.cookies for pair in SimpleCookie(raw).items()]:
            if morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
        return answer


@pytest.fixture
def browser(client: People) -> Browser:
    """One that is signed in."""
    client.register("ada@example.org")
    made = Browser(client)
    made.cookies = {"theme": "dark"}
    body = {"login": "ada@example.org", "password": PASSWORD, "mode": "cookie"}
    answer = made.send("POST", "/auth/login", body)
    assert answer.status == 200
    return made


def test_cookies_are_for_this_host_alone(client: People) -> None:
    """No script reads the tokens, no other site sends them with a form, and the answer does not have them."""
    answer = client.register("ada@example.org", mode="cookie")
    assert set(answer.data) == {"expires_in", "csrf_token"}
    found = {raw.partition("=")[0]: raw.partition(";")[2].lower() for raw in answer.cookies}
    assert set(found) == {ACCESS, REFRESH, CSRF}
    for name, attributes in found.items():
        parts = {part.strip() for part in attributes.split(";")}
        assert {"path=/", "secure", "samesite=lax"} <= parts, name
        assert ("httponly" in parts) is (name != CSRF)
        assert not any(part.startswith("domain") for part in parts)
    for raw in answer.cookies:
        value = raw.partition("=")[2].partition(";")[0]
        assert value.encode() not in answer.body or raw.startswith(CSRF)


@pytest.mark.parametrize("csrf", [None, "", "wrong", "0" * 64, "é"])
def test_what_changes_something_proves_where_it_is_from(browser: Browser, csrf: str | None) -> None:
    """Without the token, or with another's, nothing is changed; reading needs none."""
    for method, path, body in (
        ("POST", "/notes", {"text": "forged"}),
        ("PATCH", "/people/1", {"nickname": "forged"}),
        ("POST", "/auth/password", {"current_password": PASSWORD, "new_password": "another phrase"}),
        ("POST", "/auth/refresh", None),
    ):
        answer = browser.send(method, path, body, csrf=csrf)
        assert (answer.status, answer.json["code"]) == (403, "CSRF_FAILED"), path
    assert browser.send("GET", "/auth/me").status == 200
    assert browser.client.get("/notes").data == []


def test_another_sessions_token_is_refused(client: People, browser: Browser) -> None:
    """A token is bound to its session."""
    other = client.login("ada@example.org", mode="cookie").data["csrf_token"]
    assert browser.send("POST", "/notes", {"text": "x"}, csrf=other).status == 403


def test_a_page_with_the_token_writes(browser: Browser) -> None:
    """As the signed-in user."""
    answer = browser.send("POST", "/notes", {"text": "mine"}, csrf=browser.cookies[CSRF])
    assert (answer.status, answer.data["author_id"]) == (201, 1)


def test_bearer_needs_no_csrf_token(client: People, browser: Browser) -> None:
    """No browser adds that header by itself; it wins over cookies."""
    credential = bearer_of(client.register("bob@example.org"))
    more = [(b"cookie", f"{ACCESS}={browser.cookies[ACCESS]}".encode())]
    answer = client.request("POST", "/notes", body={"text": "x"}, credential=credential, more=more)
    assert (answer.status, answer.data["author_id"]) == (201, 2)


def test_refresh_by_cookie(browser: Browser) -> None:
    """New cookies for old; the old refresh cookie ends the session."""
    before = dict(browser.cookies)
    answer = browser.send("POST", "/auth/refresh", csrf=before[CSRF])
    assert (answer.status, set(answer.data)) == (200, {"expires_in", "csrf_token"})
    assert browser.cookies[REFRESH] != before[REFRESH]
    assert browser.send("GET", "/auth/me").status == 200
    after, browser.cookies = browser.cookies, before
    assert browser.send("POST", "/auth/refresh", csrf=before[CSRF]).status == 401
    browser.cookies = after
    assert browser.send("GET", "/auth/me").status == 401


def test_logout_clears_the_cookies(browser: Browser) -> None:
    """And ends the session; a forged one does neither."""
    kept = dict(browser.cookies)
    assert browser.send("POST", "/auth/logout").status == 403
    assert browser.send("GET", "/auth/me").status == 200
    assert browser.send("POST", "/auth/logout", csrf=kept[CSRF]).status == 204
    assert browser.cookies == {"theme": "dark"}
    browser.cookies = kept
    assert browser.send("GET", "/auth/me").status == 401


def test_cookies_that_are_good_no_more(browser: Browser) -> None:
    """Reading says so, so that a page renews them; signing in again and clearing them work all the same."""
    browser.cookies[ACCESS] = browser.cookies[ACCESS][:-4] + "AAAA"
    assert browser.send("GET", "/people").json["code"] == "INVALID_TOKEN"
    assert browser.send("POST", "/auth/refresh", csrf=browser.cookies[CSRF]).status == 200
    assert browser.send("GET", "/people").status == 200
    browser.client.request("POST", "/auth/logout-all", credential=bearer_of(browser.client.login("ada@example.org")))
    assert browser.send("GET", "/people").status == 401
    body = {"login": "ada@example.org", "password": PASSWORD, "mode": "cookie"}
    assert browser.send("POST", "/auth/login", body).status == 200
    assert browser.send("GET", "/auth/me").status == 200


@pytest.mark.parametrize(
    "cookie", ["", "=", ";;;", f"{ACCESS}", f"{ACCESS}=", f"{ACCESS}=a; {ACCESS}=b", "\xff=\xff"]
)
def test_hostile_cookies(client: People, cookie: str) -> None:
    """They are nobody's, or refused; never a failure."""
    for path in ("/people", "/auth/me"):
        answer = client.request("GET", path, more=[(b"cookie", cookie.encode("latin-1"))])
        assert answer.status in (200, 401)
    assert client.request("POST", "/auth/refresh", more=[(b"cookie", cookie.encode("latin-1"))]).status == 401


def test_forms_of_other_sites_sign_nobody_in(client: People) -> None:
    """A body that a form can send is not taken: signing a victim in to another's account takes a script."""
    client.register("ada@example.org")
    body = b'{"login":"ada@example.org","password":"%s","mode":"cookie"}' % PASSWORD.encode()
    for kind in (b"text/plain", b"application/x-www-form-urlencoded", b""):
        headers = [(b"host", b"test"), *([(b"content-type", kind)] if kind else [])]
        answer = client.request("POST", "/auth/login", body=body, headers=headers)
        assert answer.status in (400, 415, 422)
        assert answer.cookies == ()


def test_development_has_no_https(tmp_path: Path) -> None:
    """There the cookies have neither `Secure` nor the prefix that asks for it."""
    with people("sqlite", tmp_path, dev=True) as client:
        answer = client.register("ada@example.org", mode="cookie")
        assert {raw.partition("=")[0] for raw in answer.cookies} == {
            "backstay_access",
            "backstay_refresh",
            "backstay_csrf",
        }
        assert "secure" not in str(answer.cookies).lower()
