"""games, players and scores

Written 2026-11-21 05:29 UTC by `backstay db`. Read it before you apply it.
"""

import sqlalchemy as sa
from alembic import op

from backstay.schema.base import UtcDateTime, current_instant

revision = "20261121_052954"
down_revision = None


def upgrade() -> None:
    """Bring the database to this revision."""
    op.create_table(
        "games",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=current_instant(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=current_instant(), nullable=False),
        sa.Column(
            "version",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            server_default=sa.text("1"),
            nullable=False,
        ),
        sa.CheckConstraint("length(name) <= 80", name=op.f("ck_games_name_max_length")),
        sa.CheckConstraint("length(name) >= 1", name=op.f("ck_games_name_min_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_games")),
        sa.UniqueConstraint("slug", name=op.f("uq_games_slug")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=current_instant(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=current_instant(), nullable=False),
        sa.Column(
            "version",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            server_default=sa.text("1"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "scores",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("game_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("player_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("value", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=current_instant(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=current_instant(), nullable=False),
        sa.Column(
            "version",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            server_default=sa.text("1"),
            nullable=False,
        ),
        sa.CheckConstraint("value >= 0", name=op.f("ck_scores_value_ge")),
        sa.ForeignKeyConstraint(["game_id"], ["games.id"], name=op.f("fk_scores_game_id_games")),
        sa.ForeignKeyConstraint(["player_id"], ["users.id"], name=op.f("fk_scores_player_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scores")),
    )
    with op.batch_alter_table("scores") as batch_op:
        batch_op.create_index(batch_op.f("ix_scores_game_id_value"), ["game_id", "value"], unique=False)
        batch_op.create_index(batch_op.f("ix_scores_player_id"), ["player_id"], unique=False)


def downgrade() -> None:
    """Take it back to the revision before."""
    with op.batch_alter_table("scores") as batch_op:
        batch_op.drop_index(batch_op.f("ix_scores_player_id"))
        batch_op.drop_index(batch_op.f("ix_scores_game_id_value"))

    op.drop_table("scores")
    op.drop_table("users")
    op.drop_table("games")
