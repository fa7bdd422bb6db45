"""Projects and tasks for organisations: sign up, found an organisation, invite colleagues, work together."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Annotated, Any, Literal

from fastapi import Body
from outbox import send
from pydantic import StringConstraints
from seed import fill
from sqlalchemy import ForeignKey, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backstay import (
    AccountOptions,
    Backstay,
    Context,
    FieldRule,
    ForbiddenError,
    Mail,
    MembershipBase,
    Model,
    Problem,
    SoftDelete,
    TenantScoped,
    UserBase,
    UtcDateTime,
    has_permission,
    has_role,
    me,
    nobody,
    signed_in,
)

Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,80}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,38}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s\x00]{1,64}@[^@\s\x00]{1,189}$")]
Role = Literal["owner", "admin", "member"]
#: What each role permits in its organisation.
ROLES: dict[str, list[str]] = {
    "owner": ["organization.manage", "members.manage", "projects.manage"],
    "admin": ["members.manage", "projects.manage"],
    "member": [],
}


class Organization(Model):
    slug: Mapped[Slug] = mapped_column(unique=True)
    name: Mapped[Name]
    members: Mapped[list["Membership"]] = relationship(back_populates="organization")


class OfOrganization(TenantScoped):
    __tenant__ = "organizations.id"


class User(UserBase, Model):
    profile: Mapped["Profile | None"] = relationship(back_populates="user", passive_deletes="all")
    memberships: Mapped[list["Membership"]] = relationship(back_populates="user", passive_deletes="all")


class Profile(Model):
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    name: Mapped[Name]
    user: Mapped[User] = relationship(back_populates="profile")


class Membership(MembershipBase, Model):
    __tenant__ = "organizations.id"
    role: Mapped[Role]
    user: Mapped[User] = relationship(back_populates="memberships")
    organization: Mapped[Organization] = relationship(back_populates="members")


class Invitation(OfOrganization, Model):
    email: Mapped[Address]
    role: Mapped[Role]
    token_hash: Mapped[str] = mapped_column(unique=True, info={"secret": True})
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime())
    accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime())


class Project(OfOrganization, SoftDelete, Model):
    name: Mapped[Name]
    tasks: Mapped[list["Task"]] = relationship(back_populates="project")


class Task(OfOrganization, SoftDelete, Model):
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    title: Mapped[Name]
    done: Mapped[bool] = mapped_column(default=False)
    project: Mapped[Project] = relationship(back_populates="tasks")
    author: Mapped[User] = relationship(foreign_keys=author_id)
    assignee: Mapped[User | None] = relationship(foreign_keys=assignee_id)


app = Backstay("saas")
app.seeder(fill)
app.mailer(send)
app.accounts(User, AccountOptions(verify_email=False))
app.tenants(Organization, members=Membership, slug=Organization.slug, roles=ROLES)

manages_members, manages_projects = has_permission("members.manage"), has_permission("projects.manage")
colleague = User.memberships.any(Membership.tenant_id == me.tenant)
not_above_me = has_role("owner") | (Membership.role != "owner")

app.resource(
    Organization,
    key=Organization.slug,
    read=Organization.members.any(Membership.user_id == me.id),
    update=has_permission("organization.manage") & (Organization.id == me.tenant),
)
app.resource(
    User,
    read=signed_in & ((User.id == me.id) | colleague),
    fields={User.email: FieldRule(read=(User.id == me.id) | manages_members)},
)
app.resource(
    Profile,
    read=signed_in & ((Profile.user_id == me.id) | Profile.user.has(colleague)),
    create=signed_in,
    update=Profile.user_id == me.id,
    stamp={Profile.user_id: me.id},
)
app.resource(
    Membership,
    read=signed_in,
    update=manages_members & not_above_me,
    delete=(manages_members & not_above_me) | (Membership.user_id == me.id),
    fields={Membership.user_id: FieldRule(write=nobody)},
)
app.resource(Invitation, read=manages_members, delete=manages_members)
app.resource(Project, read=signed_in, write=manages_projects, restore=manages_projects)
app.resource(
    Task,
    read=signed_in,
    create=signed_in,
    update=signed_in,
    delete=manages_projects | (Task.author_id == me.id),
    restore=manages_projects,
    stamp={Task.author_id: me.id},
)


@app.post("/api/v1/organizations", status_code=201)
async def found(slug: Annotated[Slug, Body()], name: Annotated[Name, Body()], ctx: Context) -> dict[str, Any]:
    """Whoever founds an organisation owns it."""
    user = user_of(ctx)
    try:
        async with app.transaction(ctx) as session:
            organization = Organization(slug=slug, name=name)
            session.add(organization)
            await session.flush()
            session.add(Membership(tenant_id=organization.id, user_id=user, role="owner"))
    except IntegrityError:
        raise Problem("CONFLICT", f"The slug {slug} is taken.") from None
    return {"data": {"id": organization.id, "slug": slug, "name": name, "role": "owner"}}


@app.post("/api/v1/invitations", status_code=202)
async def invite(email: Annotated[Address, Body()], role: Annotated[Role, Body()], ctx: Context) -> dict[str, Any]:
    """Mail somebody a code that lets them in: once, and for a week."""
    who, token, expires = ctx.principal, token_urlsafe(32), datetime.now(UTC) + timedelta(days=7)
    if "members.manage" not in who.permissions or (role == "owner" and "owner" not in who.roles):
        raise ForbiddenError(f"invite {role}s to", "this organisation", anonymous=who.is_anonymous)
    async with app.transaction(ctx) as session:
        row = Invitation(tenant_id=who.tenant, email=email, role=role, expires_at=expires)
        row.token_hash = sha256(token.encode()).hexdigest()
        session.add(row)
        firm = await session.scalar(select(Organization.name).where(Organization.id == who.tenant))
    await send(Mail(email, f"Join {firm}", f"Sign up, then accept with the code {token}\n", "invitation", token))
    return {"data": {"id": row.id, "email": email, "role": role}}


@app.post("/api/v1/invitations/accept", status_code=201)
async def accept(token: Annotated[str, Body(embed=True, max_length=64)], ctx: Context) -> dict[str, Any]:
    """Join the organisation that an invitation is from."""
    user, hashed, now = user_of(ctx), sha256(token.encode()).hexdigest(), datetime.now(UTC)
    good = (Invitation.token_hash == hashed) & Invitation.accepted_at.is_(None) & (Invitation.expires_at > now)
    spend = update(Invitation).where(good).values(accepted_at=now).returning(Invitation.tenant_id, Invitation.role)
    try:
        async with app.transaction(ctx) as session:
            spent = (await session.execute(spend)).one_or_none()
            if spent is None:
                raise Problem("NOT_FOUND", "The invitation is unknown, used or too old.", hint="Ask for another.")
            session.add(Membership(tenant_id=spent.tenant_id, user_id=user, role=spent.role))
    except IntegrityError:
        raise Problem("CONFLICT", "You belong to this organisation already.") from None
    return {"data": {"tenant": spent.tenant_id, "role": spent.role}}


def user_of(ctx: Context) -> int:
    """The id of the user who asks; a service is none."""
    if not isinstance(ctx.principal.id, int):
        raise ForbiddenError("do this", "without an account", anonymous=ctx.principal.is_anonymous)
    return ctx.principal.id
