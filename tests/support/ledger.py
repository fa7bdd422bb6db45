"""An app file that real servers run: plain models with every kind of constraint, written by signed-in callers."""

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, ModelBase, public, signed_in


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Account(Base):
    """What entries belong to."""

    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(unique=True)
    entries: Mapped[list["Entry"]] = relationship(foreign_keys="Entry.account_id", back_populates="account")


class Entry(Base):
    """One write; `code` says whose, and `copy` repeats it so that half a row would show."""

    __tablename__ = "entries"
    code: Mapped[str] = mapped_column(unique=True)
    copy: Mapped[str]
    amount: Mapped[int]
    account_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"))
    late_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id", deferrable=True, initially="DEFERRED"))
    account: Mapped[Account | None] = relationship(foreign_keys=account_id, back_populates="entries")
    __table_args__ = (sa.CheckConstraint("amount <> 13", name="amount_unlucky"),)


class Item(Base):
    """A table for long scans; nothing but its key is indexed."""

    __tablename__ = "items"
    label: Mapped[str]
    number: Mapped[int]


app = Backstay("ledger")
app.resource(Account, read=public, write=signed_in)
app.resource(Entry, read=public, write=signed_in, check=Entry.amount < 1_000)
app.resource(Item, read=public, write=signed_in)
