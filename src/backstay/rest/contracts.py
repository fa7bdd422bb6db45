"""What bodies must be, to principals of a standing; pydantic's schemas are dear, so they are kept."""

from __future__ import annotations

from ..query.payload import Action, Contract
from ..query.sight import Sight
from ..schema.policy import Standing
from ..schema.resource import Catalog, Resource


class Contracts:
    """The contracts of the resources of one version."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._made: dict[tuple[object, ...], Contract] = {}

    def of(self, resource: Resource, action: Action, standing: Standing) -> Contract:
        """What a body of this action must be."""
        if not resource.policy.fields:
            key: tuple[object, ...] = (resource.name, action)
            if key not in self._made:
                self._made[key] = Contract(resource, action)
            return self._made[key]
        sight = Sight(self._catalog, standing)
        settable, visible = sight.settable(resource), sight.columns(resource)
        # By what it knows: standings are many.
        key = (resource.name, action, *settable, None, *visible)
        if key not in self._made:
            self._made[key] = Contract(resource, action, settable, visible)
        return self._made[key]
