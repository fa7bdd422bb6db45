"""Malformed and hostile JSON documents, in the spirit of JSONTestSuite's n_* and i_* cases.

Each is a body that a valid create of a game could have been: a server that takes one of them has read it wrongly.
It is deterministic; nothing here knows how the server parses.
"""

import json
from collections.abc import Iterator

VALID = {"slug": "hostile", "name": 'Höstile 𝄞 "x"', "price": "1.50", "released": "2026-01-02", "owner_id": 1}
TEXT = json.dumps(VALID, ensure_ascii=False)
RAW = TEXT.encode()
NUMBERS = (
    "+1 01 -01 1. .5 -.5 -. - + 1e 1e+ 1e- 1E 1e1.5 0e 1.e1 0x10 0b1 0o7 1_000 1,000 -- 1- 1+1 NaN nan -NaN Infinity "
    "-Infinity +Infinity inf ∞ １ ١ 1a 1f 1L 1n 0.0.0 .. e1 E 1ee1 −1"
)
WORDS = "True TRUE False None nil undefined nul nulll tru truee fals a 'x' `x` /x/ x:1 function(){} <a/> // /* *x #x"
ESCAPES = (
    r"\x \a \v \0 \' \u \u1 \u12 \u123 \u123g \U0001F600 \uD800 \uDFFF \uD800\u0041 \uD834\uD834 \uDD1E\uD834 "
    r"\ud800\ud800 \8 \u{1F600} \N{DIGIT} \☃"
)
#: Bytes that are no UTF-8: stray continuations, overlong forms, surrogates, beyond U+10FFFF, Latin-1.
NOT_UTF8 = (
    "80 bf c0af c1bf e0809f e080af f08080af f8888080 80 fe ff c3 e282 f09d84 eda080 edbfbf eda0b4edb49e f4908080 "
    "f5808080 e9 fffe feff"
)


def _with(value: str, name: str = "price") -> bytes:
    """The valid document with one member's value as given text."""
    members = [f"{json.dumps(k)}:{value if k == name else json.dumps(v)}" for k, v in VALID.items()]
    return ("{" + ",".join(members) + "}").encode("utf-8", "surrogatepass")


def truncated() -> Iterator[tuple[str, bytes]]:
    """Cut off at each byte, from either end."""
    for length in range(len(RAW)):
        yield f"cut at byte {length}", RAW[:length]
    for length in range(1, len(RAW)):
        yield f"without its first {length} bytes", RAW[length:]


def structure() -> Iterator[tuple[str, bytes]]:
    """Wrong signs, names, nesting and surroundings, and what is another notation."""
    inner = TEXT[1:-1]
    for name, text in {
        "blank": " \t\n\r",
        "trailing comma": f"{{{inner},}}",
        "leading comma": f"{{,{inner}}}",
        "double comma": f'{{{inner},,"x":1}}',
        "no comma": f'{{{inner} "x":1}}',
        "no colon": f'{{{inner},"x" 1}}',
        "double colon": f'{{{inner},"x"::1}}',
        "colon for comma": f'{{{inner}:"x":1}}',
        "equals": f'{{{inner},"x"=1}}',
        "no value": f'{{{inner},"x":}}',
        "no name": f"{{{inner},:1}}",
        "name without quotes": f"{{{inner},x:1}}",
        "name in single quotes": f"{{{inner},'x':1}}",
        "name is a number": f"{{{inner},1:1}}",
        "name is null": f"{{{inner},null:1}}",
        "name is a list": f"{{{inner},[]:1}}",
        "closed by a bracket": f"{{{inner}]",
        "closed twice": f"{{{inner}}}}}",
        "opened twice": f"{{{{{inner}}}",
        "in parentheses": f"({TEXT})",
        "two documents": TEXT + TEXT,
        "two lines": f"{TEXT}\n{TEXT}",
        "trailing text": f"{TEXT} x",
        "trailing comma after": f"{TEXT},",
        "trailing semicolon": f"{TEXT};",
        "trailing bracket": f"{TEXT}]",
        "trailing NUL": f"{TEXT}\x00",
        "trailing comment": f"{TEXT}// x",
        "leading comment": f"/* x */{TEXT}",
        "comment inside": f"{{/**/{inner}}}",
        "hash comment": f"{TEXT}#",
        "anti-hijack prefix": f")]}}',\n{TEXT}",
        "assignment": f"x={TEXT}",
        "JSONP": f"f({TEXT})",
        "in a list of lists": f"[[{TEXT}]]",
        "in a string": json.dumps(TEXT),
        "form": "slug=hostile&name=x",
        "XML": "<slug>hostile</slug>",
        "YAML": "slug: hostile\nname: x",
        "form feed as blank": f"{{\f{inner}}}",
        "vertical tab as blank": f"{{\v{inner}}}",
        "no-break space as blank": f"{{\u00a0{inner}}}",
        "line separator as blank": f"{{\u2028{inner}}}",
        "word joiner": f"\u2060{TEXT}",
        "record separator": f"\x1e{TEXT}",
        "null": "null",
        "true": "true",
        "a number": "1",
        "a string": '"slug"',
        "an empty list": "[]",
        "a star": "*",
        "an unclosed list": "[",
        "an unclosed string": '"',
        "a backslash": "\\",
        "an escape": "\\u0000",
        "an unopened object": "}",
        "open and closed wrongly": "{]",
        "crossed": "[{]}",
    }.items():
        yield name, text.encode()


def numbers_and_words() -> Iterator[tuple[str, bytes]]:
    """Numbers and words that JSON has not, or that no column holds."""
    for text in (*NUMBERS.split(), *WORDS.split()):
        yield f"value {text}", _with(text)
        yield f"document {text}", text.encode()
    for name, text in {
        "a huge integer": "9" * 10_000,
        "a huge exponent": "1e99999999999",
        "a huge negative exponent beyond": "-1e400",
        "an exponent without end": "1e" + "9" * 10_000,
        "a decimal beyond its digits": "12345678901234567890.12",
        "a fraction beyond its scale": "0." + "1" * 10_000,
        "an infinite decimal in a string": '"Infinity"',
        "NaN in a string": '"NaN"',
        "a padded number in a string": '"1.5.5"',
        "an object": "{}",
        "a list of it": '["1.50"]',
        "true": "true",
    }.items():
        yield name, _with(text)
    for text in (
        "1.5",
        "1e-2",
        "9223372036854775808",
        "-9223372036854775809",
        "1" * 400,
        '"1"',
        "true",
        "[1]",
        "1e400",
    ):
        yield f"owner {text[:30]}", _with(text, "owner_id")


def strings() -> Iterator[tuple[str, bytes]]:
    """Escapes, control characters and lengths."""
    for text in ESCAPES.split():
        yield f"escape {text}", _with(f'"a{text}z"', "name")
        yield f"escape {text} at the end", _with(f'"{text}"', "name")
        yield f"escape {text} in a name", TEXT.replace("{", f'{{"{text}":1,', 1).encode()
    for code in range(0x20):
        yield f"control character {code}", _with(f'"a{chr(code)}b"', "name")
    yield "NUL escaped", _with('"a\\u0000b"', "name")
    yield "NUL escaped in a name", TEXT.replace("{", '{"a\\u0000":1,', 1).encode()
    yield "NUL escaped in an unknown member", TEXT.replace("{", '{"a":{"b":["\\u0000"]},', 1).encode()
    yield "a string over two lines", _with('"a\\\nb"', "name")
    yield "a string never closed", _with('"a', "name")
    yield "a string closed by an apostrophe", _with("\"a'", "name")
    yield "a string as long as the limit", _with('"' + "x" * 1_000_000 + '"', "name")
    yield "a name as long as the limit", TEXT.replace("{", '{"' + "x" * 1_000_000 + '":1,', 1).encode()


def encodings() -> Iterator[tuple[str, bytes]]:
    """Bytes that are no UTF-8, or a mark before them."""
    for text in NOT_UTF8.split():
        raw = bytes.fromhex(text)
        yield f"bytes {text} in a string", _with('"a@b"', "name").replace(b"@", raw)
        yield f"bytes {text} in a name", RAW.replace(b"{", b'{"' + raw + b'":1,', 1)
        yield f"bytes {text} before", raw + RAW
        yield f"bytes {text} after", RAW + raw
    yield "UTF-8 with a byte order mark", b"\xef\xbb\xbf" + RAW
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "cp037"):
        ascii_only = json.dumps({"slug": "hostile", "name": "é~"}, ensure_ascii=False)
        yield encoding, ascii_only.encode(encoding)
    yield "Latin-1", json.dumps({"slug": "hostile", "name": "é"}, ensure_ascii=False).encode("latin-1")
    yield "gzip", bytes.fromhex("1f8b0800000000000003abae0500")
    yield "MessagePack", bytes.fromhex("82a4736c7567a1")
    yield "CBOR", bytes.fromhex("a164736c756761")


def deep() -> Iterator[tuple[str, bytes]]:
    """Deeper or wider than anything meant."""
    for depth in (65, 200, 500, 1_000, 1_024, 1_025, 5_000, 100_000):
        yield f"{depth} lists", b"[" * depth + b"]" * depth
        yield f"{depth} lists in a member", _with("[" * depth + "]" * depth)
        yield f"{depth} objects", b'{"a":' * depth + b"1" + b"}" * depth
        yield f"{depth} objects in a member", _with('{"a":' * depth + "1" + "}" * depth, "name")
        yield f"{depth} lists never closed", b"[" * depth
        yield f"{depth} objects never closed", b'{"a":' * depth
        yield f"{depth} lists and objects", b'[{"a":' * depth + b"1" + b"}]" * depth
    yield "a wide list", _with("[" + ",".join(["0"] * 100_000) + "]")
    yield "a wide object", b"{" + b",".join(b'"%d":0' % i for i in range(50_000)) + b"}"


def twice() -> Iterator[tuple[str, bytes]]:
    """Names given twice, and names that a parser could take for something else."""
    inner = TEXT[1:-1]
    for name, text in {
        "a member twice": f'{{{inner},"slug":"hostile"}}',
        "a member twice, escaped": f'{{{inner},"sl\\u0075g":"hostile"}}',
        "a member twice, first in another place": f'{{"slug":"tetris",{inner}}}',
        "a member twice, with null": f'{{{inner},"price":null}}',
        "an unknown member twice": f'{{{inner},"x":1,"x":1}}',
        "members twice inside": f'{{{inner},"x":{{"a":1,"a":2}}}}',
        "every member twice": f"{{{inner},{inner}}}",
        "a prototype": f'{{{inner},"__proto__":{{"slug":"x"}}}}',
        "a constructor": f'{{{inner},"constructor":{{}}}}',
        "a Python class": f'{{{inner},"__class__":"x"}}',
        "a name in capitals": f'{{{inner},"SLUG":"x"}}',
        "a name with blanks": f'{{{inner}," slug":"x"}}',
        "an empty name": f'{{{inner},"":1}}',
        "a name with a dot": f'{{{inner},"owner.username":"x"}}',
        "an operator as a name": f'{{{inner},"slug[eq]":"x"}}',
        "a relation as a name": f'{{{inner},"owner":{{"id":1}}}}',
    }.items():
        yield name, text.encode()
