"""An app whose rows are imported and exported: shelves and the boxes on them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import Backstay, Config, ModelBase, has_role, me, public, signed_in
from support.asgi import SECRET

SOURCE = Path(__file__).parents[2] / "src"


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Shelf(Base):
    """Where boxes are."""

    __tablename__ = "shelves"

    name: Mapped[str] = mapped_column(unique=True)


class Box(Base):
    """What is there; `owner_id` is whose it is."""

    __tablename__ = "boxes"

    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelves.id"))
    owner_id: Mapped[int]
    label: Mapped[str] = mapped_column(unique=True)
    weight: Mapped[Annotated[int, Field(ge=0)]] = mapped_column(default=1)
    price: Mapped[Decimal | None]
    note: Mapped[str | None]
    tags: Mapped[list[str] | None]
    fragile: Mapped[bool] = mapped_column(default=False)


def depot(url: str, **settings: Any) -> Backstay:
    """The app over one database: everybody reads shelves, and owners their boxes."""
    config = Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off", **settings)
    app = Backstay("depot", config=config)
    app.resource(Shelf, read=public, write=has_role("admin"))
    app.resource(
        Box,
        read=(Box.owner_id == me.id) | has_role("admin"),
        create=signed_in,
        update=Box.owner_id == me.id,
        delete=Box.owner_id == me.id,
        stamp={Box.owner_id: me.id},
    )
    return app


#: An app file that a command line finds.
APP = """
import os
from support.depot import depot
app = depot(os.environ["BACKSTAY_DATABASE_URL"])
"""


def command(folder: Path, *arguments: str) -> list[str]:
    """A command line of `backstay`, run in a folder with the app."""
    (folder / "app.py").write_text(APP)
    return [sys.executable, "-m", "backstay", *arguments]


def environment(url: str) -> dict[str, str]:
    """What a process needs to find this source and the database."""
    path = os.pathsep.join([str(SOURCE), str(Path(__file__).parents[1])])
    return {**os.environ, "PYTHONPATH": path, "BACKSTAY_DATABASE_URL": url}


def backstay(url: str, folder: Path, *arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end."""
    line = command(folder, *arguments)
    return subprocess.run(line, cwd=folder, env=environment(url), input=given, capture_output=True, check=False)


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    """Rows as NDJSON; what is text already stays as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def boxes(count: int, *, first: int = 1) -> Sequence[dict[str, Any]]:
    """Boxes of user 7 on shelf 1."""
    return [{"shelf_id": 1, "owner_id": 7, "label": f"box {n}", "weight": n} for n in range(first, first + count)]
