"""The world with its seed and the table of every kind, on any database."""

import sqlalchemy as sa

from support import seed
from support.databases import Filled
from support.samples import ROWS, Sample


def _fill(engine: sa.Engine) -> None:
    seed.fill(engine, [(Sample.__table__, ROWS)])


WORLD = Filled("world", _fill)
