"""From Query to Plan: the only maker of plans, and the place of every refusal that needs no data."""

from __future__ import annotations

from ..config import Config
from ..errors import Problem, perhaps
from ..schema.model import ADDITIVE, ORDERED
from ..schema.policy import Standing
from ..schema.resource import Catalog, Resource
from .history import INSTANT, plan_history
from .ir import (
    Aggregate,
    Delete,
    Function,
    History,
    Insert,
    KeysetPage,
    Measure,
    OffsetPage,
    Parent,
    Query,
    Restore,
    Select,
    Update,
)
from .names import Names
from .plan import AggregatePlan, Form, Plan, PlanMeasure, PlanParent, PlanPath, SelectPlan, Slot
from .sight import Sight
from .writes import key_of, plan_delete, plan_insert, plan_restore, plan_update, writable_rows


class Planner:
    """Plans queries over one Catalog.

    Raises (every method):
        ValidationError: unknown names, wrong operators, limits: all of them at once.
        ForbiddenError: what the principal's standing can never do.
        Problem: `NOT_FOUND` for an unknown resource, `READ_ONLY` for a write that has no key to go by.
    """

    def __init__(self, catalog: Catalog, config: Config) -> None:
        self.catalog = catalog
        self.config = config

    def plan(self, query: Query, standing: Standing) -> Plan:
        """The Plan of a Query for principals of that standing."""
        past = isinstance(query, Select) and query.as_of is not None
        names = Names(Sight(self.catalog, standing, past), self.config)
        match query:
            case Select():
                return self._select(query, names)
            case Aggregate():
                return self._aggregate(query, names)
            case Insert():
                return plan_insert(self.resource(query.resource), query, names)
            case Update():
                return plan_update(self.resource(query.resource), query, names)
            case Delete():
                return plan_delete(self.resource(query.resource), query, names)
            case Restore():
                return plan_restore(self.resource(query.resource), query.key, names)
            case History():
                return plan_history(self.resource(query.resource), query, names)

    def resource(self, name: str) -> Resource:
        """A resource by its path segment."""
        resource = self.catalog.resources.get(name)
        if resource is None:
            hint = perhaps(name, self.catalog.resources, noun="resource")
            raise Problem("NOT_FOUND", f"There is no resource {name[:80]!r}.", hint=hint)
        return resource

    def _select(self, query: Select, names: Names) -> SelectPlan:
        resource = self.resource(query.resource)
        if query.as_of is not None:
            names.slots[query.as_of] = Slot("as_of", INSTANT, Form.SCALAR)
        source = names.rows(resource, query.deleted)
        if query.may:
            source = writable_rows(resource, query.may, names)
        key = key_of(resource, query.key, names) if query.key else ()
        parent = self._parent(query.parent, names) if query.parent else None
        condition = names.filter(resource, query.filter) if query.filter else None
        order = () if query.key else names.order(resource, query.order)
        page = query.page
        if isinstance(page, OffsetPage):
            names.offset(page)
        elif isinstance(page, KeysetPage):
            if not resource.table.key:
                names.refuse("cursor", "no_key", f"{resource.name} has no key to page by.", "Use page and limit.")
            elif any(key.search is not None for key in order):
                hint = "Use page and limit, or sort by a field."
                names.refuse("cursor", "not_sortable", "pages by cursor have no order by relevance.", hint)
            elif page.slots and len(page.slots) != len(order):
                names.refuse("cursor", "cursor", "does not belong to this sort order.", "Start without a cursor.")
            elif any(null and not key.can_be_null for null, key in zip(page.nulls, order, strict=False)):
                names.refuse("cursor", "cursor", "is malformed.", "Start without a cursor.")
            for slot, key_order in zip(page.slots, order, strict=False):
                names.slots[slot] = Slot("cursor", key_order.path.column, Form.CURSOR)
        shape = names.shape(resource, query.shape.fields, query.shape.includes)
        return SelectPlan(source, condition, order, page, shape, key, parent, names.finish(), query.as_of)

    def _parent(self, parent: Parent, names: Names) -> PlanParent:
        resource = self.resource(parent.resource)
        step = names.step(resource, parent.relation, "path")
        if step is None or not step.way.many:
            hint = perhaps(parent.relation, names.sight.ways(resource), noun="relation")
            message = f"{parent.resource} has no list {parent.relation[:80]!r}."
            raise Problem("NOT_FOUND", message, hint=hint)
        return PlanParent(names.rows(resource), step, key_of(resource, parent.key, names))

    def _aggregate(self, query: Aggregate, names: Names) -> AggregatePlan:
        resource = self.resource(query.resource)
        source = names.rows(resource, query.deleted)
        parent = self._parent(query.parent, names) if query.parent else None
        condition = names.filter(resource, query.filter) if query.filter else None
        group: list[tuple[str, PlanPath]] = []
        for path in query.group:
            found = names.path(resource, path, "group")
            if found is not None and found.column.kind not in ORDERED:
                names.refuse("group", "not_groupable", f"{found.column.name} cannot be grouped by.")
            elif found is not None:
                group.append((".".join(path), found))
        measures = [self._measure(resource, measure, names) for measure in query.measures]
        outputs = [name for name, _ in group] + [m.name for m in query.measures]
        for name in sorted({name for name in outputs if outputs.count(name) > 1}):
            names.refuse("select", "duplicate", f"{name!r} is named twice.", f"Give it an alias: total:{name}.")
        order: list[tuple[str, bool]] = []
        for key in query.order:
            name = ".".join(key.path)
            if name in outputs:
                order.append((name, key.descending))
            else:
                hint = perhaps(name, outputs, noun="output")
                names.refuse("sort", "unknown_field", f"{name[:80]!r} is not in this answer.", hint)
        page = query.page or OffsetPage(self.config.page_limit)
        names.offset(page)
        kept = tuple(measure for measure in measures if measure is not None)
        ordered = tuple(order) + tuple((name, False) for name, _ in group if name not in dict(order))
        return AggregatePlan(source, tuple(group), kept, condition, ordered, page, parent, names.finish())

    def _measure(self, resource: Resource, measure: Measure, names: Names) -> PlanMeasure | None:
        function = measure.function
        if not measure.path:
            if function is Function.COUNT and not measure.distinct:
                return PlanMeasure(measure.name, function, None, False)
            names.refuse("select", "measure", f"{function.value}() needs a field.")
            return None
        path = names.path(resource, measure.path, "select")
        if path is None:
            return None
        kind = path.column.kind
        if function in (Function.SUM, Function.AVG) and kind not in ADDITIVE:
            names.refuse("select", "measure", f"{path.column.name} ({kind.value}) cannot be summed or averaged.")
            return None
        if kind not in ORDERED:
            names.refuse("select", "measure", f"{path.column.name} ({kind.value}) cannot be aggregated.")
            return None
        return PlanMeasure(measure.name, function, path, measure.distinct)
