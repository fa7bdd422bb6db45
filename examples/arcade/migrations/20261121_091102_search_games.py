"""search games

Written 2026-11-21 09:11 UTC by `backstay db`. Read it before you apply it.
"""

from alembic import op

revision = "20261121_091102"
down_revision = "20261121_052954"


def upgrade() -> None:
    """Bring the database to this revision."""
    op.create_search("games", ["name"])


def downgrade() -> None:
    """Take it back to the revision before."""
    op.drop_search("games")
