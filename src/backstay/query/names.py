"""Resolve the caller's names against the Catalog; collect every refusal instead of stopping at the first."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import Config
from ..errors import FieldError, ForbiddenError, Problem, ValidationError, invalid, perhaps
from ..schema.model import ORDERED, TEXTUAL, Column, Kind
from ..schema.policy import Folded, Standing, fold, nobody
from ..schema.resource import Resource
from .ir import RELEVANCE, Compare, Deleted, Filter, Group, Include, Is, OffsetPage, Op, OrderKey, Path, Search, Test
from .plan import (
    Embed,
    Form,
    PlanCompare,
    PlanFilter,
    PlanGroup,
    PlanIs,
    PlanOrder,
    PlanPath,
    PlanSearch,
    PlanShape,
    PlanVia,
    Slot,
    Source,
    Step,
    by_relevance,
)
from .sight import Sight

INCLUDES_MAX = 16
_SCOPES = frozenset({"read", "create", "update", "delete"})
PATH_STEPS_MAX = 4
_FORMS = {Op.IN: Form.LIST, Op.NIN: Form.LIST, Op.LIKE: Form.PATTERN, Op.ILIKE: Form.PATTERN}
_EQUALITY = frozenset({Op.EQ, Op.NE, Op.IN, Op.NIN})
_LISTED = frozenset({Op.EQ, Op.NE, Op.CONTAINS})
_RANGE = frozenset({Op.LT, Op.LTE, Op.GT, Op.GTE})


def operators_of(column: Column) -> frozenset[Op]:
    """The comparison operators that mean something for a column."""
    if column.kind in (Kind.BYTES, Kind.OPAQUE):
        return frozenset()
    if column.kind is Kind.JSON:
        return frozenset({Op.CONTAINS})
    if column.kind is Kind.ARRAY:
        comparable = column.item is not None and column.item.kind not in (Kind.JSON, Kind.OPAQUE)
        return _LISTED if comparable else frozenset()
    if column.kind is Kind.RANGE:
        return _EQUALITY | {Op.CONTAINS}
    ops = _EQUALITY
    if column.kind in ORDERED and column.kind not in (Kind.BOOLEAN, Kind.UUID):
        ops |= _RANGE
    if column.kind in TEXTUAL and column.kind is not Kind.ENUM:
        ops |= {Op.LIKE, Op.ILIKE, Op.CONTAINS}
    return ops


@dataclass(slots=True)
class Names:
    """One planning: what it can see, its slots so far and what it has to refuse."""

    sight: Sight
    config: Config
    slots: dict[int, Slot] = field(default_factory=dict[int, Slot])
    errors: list[FieldError] = field(default_factory=list[FieldError])
    hint: str = ""
    includes: int = 0
    searched: PlanSearch | None = None

    def refuse(self, label: str, code: str, message: str, hint: str = "") -> None:
        """Note a refusal; `finish` raises them all."""
        self.errors.append(FieldError(label, code, message))
        self.hint = self.hint or hint

    def finish(self) -> tuple[Slot, ...]:
        """The slots in order.

        Raises:
            ValidationError: with every refusal of this planning.
        """
        if self.errors:
            raise ValidationError(self.errors, hint=self.hint)
        return tuple(self.slots[i] for i in range(len(self.slots)))

    @property
    def standing(self) -> Standing:
        """Whom the plan is for."""
        return self.sight.standing

    def rows(self, resource: Resource, deleted: Deleted = Deleted.HIDDEN) -> Source:
        """The rows that a read starts from.

        Raises:
            Problem: see `require`.
        """
        self.remembered(resource)
        if deleted is not Deleted.HIDDEN:
            if resource.table.deleted is None:
                self.refuse("with_deleted", "unknown_parameter", f"rows of {resource.name} are deleted for good.")
                deleted = Deleted.HIDDEN
            else:
                self.require(resource, "see deleted rows of", fold(resource.policy.restore, self.standing))
        source = self.sight.source(resource, deleted)
        self.require(resource, "read", source.rule)
        return source

    def remembered(self, resource: Resource) -> None:
        """Refuse the past of rows whose history nobody sees, or not the principal.

        Raises:
            ValidationError: nobody sees it.
            Problem: see `require`.
        """
        if not self.sight.past:
            return
        if resource.policy.history is nobody:
            message = f"{resource.name} has no history."
            raise invalid("as_of", "unknown_parameter", message, hint="Ask without as_of.")
        self.require(resource, "see the history of", fold(resource.policy.history, self.standing))

    def require(self, resource: Resource, action: str, rule: Folded) -> None:
        """Refuse at once what the principal's standing can never do.

        Raises:
            ForbiddenError: its rules forbid it.
            Problem: `INSUFFICIENT_SCOPE` where its credential does (RFC 6750 §3.1).
        """
        scope = action if action in _SCOPES else "update" if action == "restore" else "read"
        if not self.standing.covers(resource.origin.name, scope):
            wanted = f"{resource.origin.name}:{scope}"
            challenge = f'Bearer error="insufficient_scope", scope="{wanted}"'
            detail = f"The credential has no scope {wanted}."
            raise Problem("INSUFFICIENT_SCOPE", detail, headers=[("www-authenticate", challenge)])
        if resource.table.tenant is not None and not self.standing.tenanted and self.standing.signed:
            raise Problem("TENANT_REQUIRED", f"{resource.name} belongs to tenants, and this request names none.")
        if rule is False or (resource.table.tenant is not None and not self.standing.tenanted):
            raise ForbiddenError(action, resource.name, anonymous=not self.standing.signed)

    def column(self, resource: Resource, name: str, label: str) -> Column | None:
        """A visible column by name."""
        visible = self.sight.columns(resource)
        column = visible.get(name)
        if column is None:
            hint = perhaps(name, visible, noun="field")
            self.refuse(label, "unknown_field", f"{resource.name} has no field {name[:80]!r}.", hint)
        return column

    def step(self, resource: Resource, name: str, label: str) -> Step | None:
        """One relation by name."""
        way = self.sight.related(resource, name)
        if way is None:
            hint = perhaps(name, self.sight.ways(resource), noun="relation")
            self.refuse(label, "unknown_relation", f"{resource.name} has no relation {name[:80]!r}.", hint)
            return None
        self.remembered(way[1])
        return Step(way[0], self.sight.source(way[1]), self.sight.between(way[0]))

    def offset(self, page: OffsetPage) -> None:
        """The slot of a page's offset, if it has one."""
        if page.offset_slot is not None:
            self.slots[page.offset_slot] = Slot("page", None, Form.OFFSET)

    def path(self, resource: Resource, path: Path, label: str) -> PlanPath | None:
        """A column at the end of to-one steps, for sorting and grouping."""
        steps: list[Step] = []
        for name in path[:-1][: PATH_STEPS_MAX + 1]:
            step = self.step(resource, name, label)
            if step is None:
                return None
            if step.way.many:
                self.refuse(label, "to_many", f"{name!r} has many rows: only to-one relations can be used here.")
                return None
            steps.append(step)
            resource = step.source.resource
        if len(path) - 1 > PATH_STEPS_MAX:
            self.refuse(label, "too_deep", f"at most {PATH_STEPS_MAX} relations in a path.")
            return None
        column = self.column(resource, path[-1], label)
        return None if column is None else PlanPath(tuple(steps), column)

    def filter(self, resource: Resource, node: Filter) -> PlanFilter | None:
        """A condition with its names resolved; `None` when it was refused."""
        if isinstance(node, Group):
            items = [self.filter(resource, item) for item in node.items]
            return PlanGroup(node.any, tuple(item for item in items if item is not None))
        if isinstance(node, Search):
            return self._search(resource, node)
        return self._along(resource, node, node.path, label_of(node))

    def _search(self, resource: Resource, node: Search) -> PlanSearch | None:
        if resource.table.search is None:
            visible = self.sight.columns(resource)
            text = next((c.name for c in visible.values() if Op.ILIKE in operators_of(c)), "")
            hint = f"Filter by a field instead, as {text}[ilike]=%word%." if text else "Filter by its fields instead."
            hint = "The field q is filtered as q[eq]." if "q" in visible else hint
            self.refuse("q", "unknown_parameter", f"{resource.name} has no full text search.", hint)
            return None
        if self.sight.past:
            self.refuse("q", "conflict", "q looks in the words of today, not of as_of.", "Filter by a field instead.")
            return None
        self.slots[node.slot] = Slot("q", None, Form.SEARCH)
        self.searched = PlanSearch(resource.table.search, node.slot)
        return self.searched

    def _along(self, resource: Resource, node: Compare | Is, rest: Path, label: str) -> PlanFilter | None:
        if len(rest) == 1:
            return self._leaf(resource, node, rest[0], label)
        if len(rest) - 1 > PATH_STEPS_MAX:
            self.refuse(label, "too_deep", f"at most {PATH_STEPS_MAX} relations in a path.")
            return None
        step = self.step(resource, rest[0], label)
        if step is None:
            return None
        inner = self._along(step.source.resource, node, rest[1:], label)
        return None if inner is None else PlanVia(step, inner)

    def _leaf(self, resource: Resource, node: Compare | Is, name: str, label: str) -> PlanFilter | None:
        related = self.sight.related(resource, name)
        if related is not None and name not in resource.columns:
            hint = f"Filter by one of its fields: {name}.{next(iter(self.sight.columns(related[1])), 'id')}."
            self.refuse(label, "is_relation", f"{name!r} is a relation, not a field.", hint)
            return None
        column = self.column(resource, name, label)
        if column is None:
            return None
        if isinstance(node, Is):
            if node.test in (Test.TRUE, Test.FALSE) and column.kind is not Kind.BOOLEAN:
                self.refuse(label, "operator", f"{name} is no boolean: `is` takes null or notnull.")
                return None
            return PlanIs(column, node.test)
        allowed = operators_of(column)
        if node.op not in allowed:
            words = ", ".join(sorted([*(op.value for op in allowed), "is"]))
            message = f"{name} ({column.kind.value}) has no operator {node.op.value!r}."
            self.refuse(label, "operator", message, f"Operators of {name}: {words}.")
            return None
        form = _FORMS.get(node.op, Form.SCALAR)
        self.slots[node.slot] = Slot(label, column, form)
        return PlanCompare(column, node.op, node.slot)

    def order(self, resource: Resource, keys: tuple[OrderKey, ...], label: str = "sort") -> tuple[PlanOrder, ...]:
        """Sort keys, made total by the table's own key so that pages never overlap."""
        found: list[PlanOrder] = []
        for key in keys:
            if key.path == (RELEVANCE,) and RELEVANCE not in resource.columns:
                found += self._relevance(resource, key, label)
                continue
            path = self.path(resource, key.path, label)
            if path is None:
                continue
            if path.column.kind not in ORDERED:
                self.refuse(label, "not_sortable", f"{path.column.name} ({path.column.kind.value}) has no order.")
                continue
            found.append(PlanOrder(path, key.descending))
        roots = [o.path.column for o in found if not o.path.steps]
        if any(c.unique and not c.nullable for c in roots):
            return tuple(found)
        descending = found[-1].descending if found and found[-1].search is None else False
        for name in resource.table.key:
            column = resource.table.columns[name]
            if column not in roots:
                found.append(PlanOrder(PlanPath((), column), descending))
        return tuple(found)

    def _relevance(self, resource: Resource, key: OrderKey, label: str) -> list[PlanOrder]:
        """Only the rows that are searched have one."""
        if self.searched is not None and label == "sort":
            return [by_relevance(self.searched, descending=key.descending)]
        hint = "Add q=words." if resource.table.search is not None and label == "sort" else "Sort by a field."
        self.refuse(label, "not_sortable", f"rows have a {RELEVANCE} only where q looks for words in them.", hint)
        return []

    def shape(
        self,
        resource: Resource,
        fields: tuple[str, ...] | None,
        includes: tuple[Include, ...],
        trail: Path = (),
    ) -> PlanShape:
        """The fields and embedded rows of an object."""
        label = f"fields[{'.'.join(trail)}]" if trail else "fields"
        if fields is None:
            columns = tuple(self.sight.columns(resource).values())
        else:
            named = (self.column(resource, name, label) for name in dict.fromkeys(fields))
            columns = tuple(column for column in named if column is not None)
        if len(trail) >= self.config.include_depth_max and includes:
            depth = self.config.include_depth_max
            self.refuse("include", "too_deep", f"at most {depth} relations deep.")
            return PlanShape(columns)
        embeds = [self._embed(resource, include, trail) for include in includes]
        return PlanShape(columns, tuple(embed for embed in embeds if embed is not None))

    def _embed(self, resource: Resource, include: Include, trail: Path) -> Embed | None:
        self.includes += 1
        if self.includes > INCLUDES_MAX:
            self.refuse("include", "too_many", f"at most {INCLUDES_MAX} relations.")
            return None
        step = self.step(resource, include.relation, "include")
        if step is None:
            return None
        inner = (*trail, include.relation)
        target = step.source.resource
        shape = self.shape(target, include.shape.fields, include.shape.includes, inner)
        if not step.way.many and include.order:
            self.refuse(f"sort[{'.'.join(inner)}]", "to_one", f"{include.relation!r} is one row: it has no order.")
        order = self.order(target, include.order, f"sort[{'.'.join(inner)}]") if step.way.many else ()
        return Embed(step, shape, order, include.limit)


def label_of(node: Compare | Is) -> str:
    """What the caller wrote: `player.username[like]`."""
    name = ".".join(node.path)[:120]
    op = "is" if isinstance(node, Is) else node.op.value
    return name if op == "eq" else f"{name}[{op}]"
