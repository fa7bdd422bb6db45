"""The API reference page: silent, escaped, and complete in the package."""

import gzip
import re

import pytest

from backstay.console import pages


def test_page_names_no_other_host() -> None:
    """Every address in the page is relative, a data: image or an XML namespace."""
    page = pages.reference_page("Arcade", "/openapi.json", None).decode()
    without_namespaces = page.replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:https?:)?//[\w.-]+", without_namespaces) == []


def test_policy_allows_no_other_host_and_no_inline_script() -> None:
    """The policy starts from nothing and lets scripts and connections reach only the page's own origin."""
    parts = (part.partition(" ") for part in pages.CONTENT_SECURITY_POLICY.split("; "))
    directives = {name: sources for name, _, sources in parts}
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["connect-src"] == "'self'"
    assert "//" not in pages.CONTENT_SECURITY_POLICY


def test_page_has_no_inline_script() -> None:
    """A script element is either the bundle or inert data; the policy needs no exception."""
    page = pages.reference_page("Arcade", "/openapi.json").decode()
    for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL):
        assert body == ""
        assert "src=" in attributes or 'type="application/json"' in attributes


def test_caller_text_is_escaped() -> None:
    """A title, an address or a nonce cannot close its attribute or element."""
    hostile = '"></script><script>alert(1)</script>{0}'
    page = pages.reference_page(hostile, hostile, hostile, assets_url=hostile).decode()
    assert "<script>alert" not in page
    assert page.count("<script") == 2


def test_nonce_is_on_the_bundle_only_when_given() -> None:
    """An application with a nonce policy gets the attribute; the default page has none."""
    assert b'nonce="abc"' in pages.reference_page("Arcade", "/openapi.json", "abc")
    assert b"nonce" not in pages.reference_page("Arcade", "/openapi.json")


def test_page_loads_an_asset_that_exists() -> None:
    """The script named by the page is in the package, compressed, and of the version its name says."""
    page = pages.reference_page("Arcade", "/openapi.json").decode()
    (address,) = re.findall(r'src="([^"]+)"', page)
    name = address.removeprefix(pages.ASSETS_URL)
    compressed, content_type = pages.asset(name)
    assert content_type == "text/javascript; charset=utf-8"
    assert gzip.decompress(compressed) == pages.asset_plain(name)
    assert b"@scalar/api-reference 1.46.4" in pages.asset_plain(name)[:600]


@pytest.mark.parametrize("name", ["", "../pages.py", "LICENSE-scalar.txt", "scalar-1.46.4.js.gz"])
def test_only_listed_assets_are_readable(name: str) -> None:
    """A name outside the table is refused before the file system is asked."""
    with pytest.raises(KeyError):
        pages.asset(name)
