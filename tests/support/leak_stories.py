"""Stories: writes that go on from each other, with what can be read after each, told by a world and compared."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, zip_longest
from typing import Any

from support.asgi import Answer, Client
from support.guarded import NEW as NUMBER
from support.guarded import Hall
from support.guarded_requests import NEW, Play
from support.guarded_rules import Who
from support.guarded_sight import visible
from support.leak_probes import CSV, Probe
from support.twins import same_text

#: How many requests of a kind were asked, done (2xx) and, each on two worlds, compared.
PROBES: Counter[tuple[str, str]] = Counter()
_TIMES = re.compile(r"[a-z]+;dur=[0-9.]+(, )?")
_HEADERS = ("allow", "link", "location", "server-timing", "www-authenticate")
_REQUEST = re.compile(r'"request_id":"[^"]*"')
CHANGE = re.compile(r'"id":\d+,"position":(\d+|null)')
DIGEST = re.compile(r"\b[0-9a-f]{32}\b")
_MOMENT = re.compile(r"20(?:2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d(?::|%3A)\d\d(?::|%3A)\d\d\.\d{6}Z")
_LOCATION = re.compile(r"/api/v1(/t\d/\d+)\b")
_NUMBER = re.compile(r"(?<![\w.-])[1-4]\d{3}(?![\w.-])")
#: How many rows are looked back at after a write.
HISTORIES = 4
_FEW = [("limit", "100")]


def counted() -> str:
    """The counts as a table; `unforeseeable` may differ, `astray` was done although the model refuses it."""
    whats = ("asked", "done", "compared", "done and compared", "unforeseeable", "astray")
    lines = [" | ".join(["kind", *whats])]
    lines += [
        " | ".join([kind, *(str(PROBES[kind, what]) for what in whats)]) for kind in sorted({k for k, _ in PROBES})
    ]
    sums = (sum(n for (_, what), n in PROBES.items() if what == wanted) for wanted in whats)
    return "\n".join([*lines, " | ".join(["all", *map(str, sums)])])


@dataclass(slots=True)
class Told:
    """What one request of a story told, and the reads after it."""

    status: int
    answer: str
    after: list[str] = field(default_factory=list[str])


def plain_text(answer: Answer) -> str:
    """Status, headers and body, without what no two answers share; the numbers of new rows stay."""
    headers = {name: _TIMES.sub("", answer.headers.get(name, "")) for name in _HEADERS}
    version = answer.headers.get("etag", "")
    text = f"{answer.status} {headers} {version} {same_text(answer.body, ())}"
    for pattern, word in ((_REQUEST, ""), (CHANGE, ""), (DIGEST, "<digest>"), (_MOMENT, "<moment>")):
        text = pattern.sub(word, text)
    return text


class Teller:
    """Sends the requests of one story to one world."""

    def __init__(self, client: Client, who: Who, names: list[str]) -> None:
        self._client, self._who, self._names = client, who, names
        self._new = "/t0/60"

    def tell(self, story: list[Probe]) -> list[Told]:
        """What each request tells."""
        return [self._one(probe) for probe in story]

    def _one(self, probe: Probe) -> Told:
        moment = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        path, body, found = probe.path.replace(NEW, self._new), probe.body, ""
        if probe.kind == "undo":
            path, body, found = self._undone(path, body["change"])
        if probe.media:
            answer = self._send("POST", path, [], file_of(probe), probe.media)
        else:
            answer = self._send(probe.method, path, probe.pairs, body)
        PROBES[probe.kind, "asked"] += 1
        told = Told(answer.status, found + plain_text(answer))
        if answer.status >= 300:
            return told
        PROBES[probe.kind, "done"] += 1
        located = _LOCATION.findall(f"{answer.headers.get('location', '')} {answer.body.decode()}")
        if located and probe.kind != "dry run":
            self._new = located[-1]
        written = {*located, *_LOCATION.findall(f"/api/v1{path}"), *_named(probe)}
        told.after += self._reads(moment, written)
        return told

    def _undone(self, path: str, place: int) -> tuple[str, Any, str]:
        """An undo as it is sent, and what its history told; of no change that it shows, if it has no such place."""
        answer = self._read(path.removesuffix("/undo") + "/history")
        listed = answer.data if answer.status == 200 else []
        ids = [change["id"] for change in listed]
        number = ids[place] if place < len(ids) else next(n for n in count(1) if n not in ids)
        return path, {"change": number}, plain_text(answer)

    def _reads(self, moment: str, written: set[str]) -> Iterator[str]:
        """Lists as they are and as they were, histories of what seems to be written, and what it was."""
        for name in self._names:
            answer = self._read(f"/{name}")
            yield plain_text(answer)
            rows = answer.data if answer.status == 200 else []
            written |= {f"/{name}/{row['id']}" for row in rows if row["version"] > 1 or row["id"] > NUMBER}
            yield plain_text(self._read(f"/{name}", [("as_of", moment)]))
        for path in sorted(written)[:HISTORIES]:
            yield plain_text(self._read(f"{path}/history"))
        for path in sorted(written)[:1]:
            yield plain_text(self._send("GET", path, [("as_of", moment)]))

    def _read(self, path: str, pairs: list[tuple[str, str]] | None = None) -> Answer:
        return self._send("GET", path, [*_FEW, *(pairs or [])])

    def _send(self, method: str, path: str, pairs: Any, body: Any = None, media: str = "application/json") -> Answer:
        headers = [(b"host", b"test")] + ([] if body is None else [(b"content-type", media.encode())])
        options = {"body": body, "credential": self._who.credential}
        answer = self._client.request(method, path, pairs, headers=headers, **options)
        assert answer.status < 500, (method, path, pairs, body, answer.body)
        PROBES["read after a write", "asked"] += method == "GET"
        return answer


def _named(probe: Probe) -> set[str]:
    """The paths of rows that a batch names."""
    operations = probe.body["operations"] if probe.path == "/batch" else []
    return {match for each in operations for match in re.findall(r"^(/t\d/\d+)\b", each["path"])}


def file_of(probe: Probe) -> bytes:
    """The rows of an import, as a file."""
    rows = probe.body
    if probe.media != CSV:
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    lines = [",".join(rows[0])]
    lines += [",".join('""' if v is None else str(v).lower() for v in row.values()) for row in rows]
    return "\n".join(lines).encode()


class Numbers:
    """Names for the numbers of new rows, in their order: databases count refused ones differently."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def named(self, texts: list[str], *, kept: bool = True) -> list[str]:
        """The texts with names.

        Args:
            kept: these rows remain.
        """
        names = dict(self._names)
        for number in sorted({int(found) for text in texts for found in _NUMBER.findall(text)}):
            table = number // NUMBER
            known = sum(other // NUMBER == table for other in names)
            names.setdefault(number, f"new {known} of table {table}")
        if kept:
            self._names = names
        return [_NUMBER.sub(lambda match: names[int(match[0])], text) for text in texts]


def compare(story: list[Probe], worlds: tuple[Hall, Hall], who: Who, mine: list[Told], others: list[Told]) -> int:
    """Assert that a story tells the same in two worlds, as far as what it does looks the same in both.

    Returns:
        how many requests of it tell the same on all databases, too.
    """
    here, there = worlds[0].copy(), worlds[1].copy()
    first, second = Numbers(), Numbers()
    last = "/t0/60"
    for place, (probe, told, other) in enumerate(zip(story, mine, others, strict=True)):
        here.moments += (len(here.log),)
        there.moments += (len(there.log),)
        play, twin = Play(here, who, last=last), Play(there, who, last=last)
        done = play.done(probe)
        alike = twin.done(probe) is done and play.told == twin.told
        if not alike or (play.world is not here and visible(play.world, who) != visible(twin.world, who)):
            PROBES[probe.kind, "unforeseeable"] += 1
            return place
        kept = probe.kind != "dry run"
        texts = first.named([told.answer, *told.after], kept=kept)
        same = second.named([other.answer, *other.after], kept=kept)
        _same(texts[:1], same[:1], story, probe)
        PROBES[probe.kind, "compared"] += 1
        if told.status < 300:
            PROBES[probe.kind, "done and compared"] += 1
            if not done:
                PROBES[probe.kind, "astray"] += 1
                return place
            _same(texts, same, story, probe)
            here, there, last = play.world, twin.world, play.last
    return len(story)


def _same(texts: list[str], others: list[str], story: list[Probe], probe: Probe) -> None:
    for one, two in zip_longest(texts, others):
        if one != two:
            told = "\n".join([*map(str, story), "", str(probe), "", str(one), "", str(two)])
            raise AssertionError(f"answers differ in a story\n{told}")


def compare_databases(story: list[Probe], one: list[Told], two: list[Told]) -> None:
    """Assert that a story tells the same on two databases."""
    first, second = Numbers(), Numbers()
    for probe, told, other in zip(story, one, two, strict=False):
        kept = probe.kind != "dry run"
        texts = first.named([told.answer, *told.after], kept=kept)
        _same(texts, second.named([other.answer, *other.after], kept=kept), story, probe)
