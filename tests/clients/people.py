"""An app with accounts, tenants, soft deletes and rules of fields: what its contract is made of is linted."""

from sqlalchemy.orm import Mapped

from backstay import Backstay, FieldRule, Model, SoftDelete, TenantScoped, User, has_role, me, public, signed_in


class Note(SoftDelete, Model):
    """What somebody wrote."""

    text: Mapped[str]


class Order(TenantScoped, Model):
    """What a tenant ordered."""

    article: Mapped[str]
    margin: Mapped[float | None]


app = Backstay("people", description="People, their notes and orders.")
app.accounts(User)
app.resource(User, read=signed_in, update=User.id == me.id)
app.resource(Note, read=public, write=signed_in, restore=has_role("admin"))
app.resource(Order, read=signed_in, write=signed_in, fields={Order.margin: FieldRule(read=has_role("admin"))})
