"""Names that people sign in with: what is none, then one form for what looks the same."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.schema.names import EmailText, UsernameText

EMAIL, USERNAME = EmailText(), UsernameText()


NO_ADDRESSES = """
@ | ada | ada@ | @example.org | a b@example.org | a@b | a@localhost | .a@example.org | a.@example.org
a..b@example.org | "a b"@example.org | a@exam ple.org | a@-example.org | a@example..org | a@example.org. | a@b@c
a,b@example.org | a@[127.0.0.1] | <a@example.org>
"""


@pytest.mark.parametrize(
    "text",
    [
        *(text.strip() for line in NO_ADDRESSES.splitlines() for text in line.split("|")),
        "a\n@example.org",
        "a@example.org\n\n.b",
        "a\x00@example.org",
        "x" * 65 + "@example.org",
        "a@" + "x" * 64 + ".org",
        "a@" + ".".join(["x" * 60] * 5) + ".org",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """It is refused, with a word that can follow the field's name."""
    with pytest.raises(ValueError, match="is not an e-mail address"):
        EMAIL.normal(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ada@example.org", "ada@example.org"),
        (" Ada@EXAMPLE.org ", "ada@example.org"),
        ("ada+tag@example.org", "ada+tag@example.org"),
        ("Zoë@example.org", "zoë@example.org"),
        ("zoe\u0308@example.org", "zoë@example.org"),
        ("straße@example.org", "strasse@example.org"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@例え.テスト", "a@xn--r8jz45g.xn--zckzah"),
    ],
)
def test_addresses(text: str, normal: str) -> None:
    """Case-folded, in NFC, the domain in ASCII."""
    assert EMAIL.normal(text) == normal


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "a@b", "a\x00", "a\u200bb", "\u202eada", "x" * 65, "a\tb", "a\u3000b"]
)
def test_what_is_no_name(text: str) -> None:
    """Nothing that cannot be seen, or that an address has."""
    with pytest.raises(ValueError, match=r"must have"):
        USERNAME.normal(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [("Ada", "ada"), ("ＡＤＡ", "ada"), ("chloe\u0301", "chloé"), ("ﬁ", "fi"), ("Ⅳ", "iv"), ("ß", "ss")],
)
def test_names(text: str, normal: str) -> None:
    """Case-folded, in NFKC."""
    assert USERNAME.normal(text) == normal


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=70))
def test_a_normal_form_is_its_own(text: str) -> None:
    """Whatever comes in: it is refused, or normalising again changes nothing."""
    for kind, given_ in ((USERNAME, text), (EMAIL, f"{text}@example.org"), (EMAIL, f"a@{text}.example")):
        try:
            normal = kind.normal(given_)
        except ValueError:
            continue
        assert kind.normal(normal) == normal
        assert unicodedata.is_normalized("NFC", normal)
