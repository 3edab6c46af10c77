"""Accept a delivery: one commit of the delivery and its audit entry, once for each delivery id."""

from __future__ import annotations

from potato.core.event import Event
from potato.hub.entries import delivery_entry
from potato.ports import Delivery, Store


def accept(store: Store, delivery: Delivery, event: Event) -> bool:
    """Whether it is new. Raises `PotatoError` when the id came before with another body."""
    return store.record_delivery(delivery, delivery_entry(delivery, event))
