"""Subscriptions: kept over lost connections, each with the place up to which everything is acknowledged."""

from __future__ import annotations

from typing import Dict, List, Optional

from .codec import Addresses, listed
from .commands import Commands
from .errors import ClosedError, RejectedError
from .events import Events, Gap


class Subscription:
    """One group. `since` is the `references` of the next `subscribe`."""

    def __init__(self, since: Optional[str], epoch: Optional[str]) -> None:
        self.since = since
        self.epoch = epoch
        self.live = False  # has been subscribed to
        self.anew = False  # its log is lost, and the server has not said so yet


class Groups:
    """The groups of one client, by name."""

    def __init__(self, commands: Commands, events: Events) -> None:
        self._commands, self._events = commands, events
        self._groups: Dict[str, Subscription] = {}

    def __contains__(self, group: object) -> bool:
        return group in self._groups

    async def subscribe(self, groups: Addresses, since: Optional[str], epoch: Optional[str]) -> Dict[str, str]:
        """Returns the place in each group's log after which it is replayed."""
        names = listed(groups)
        for name in names:
            self._groups[name] = Subscription(since, epoch)
        try:
            return await self._ask(names, since, epoch)
        except RejectedError:
            for name in names:
                self._groups.pop(name, None)
            raise

    async def _ask(self, names: List[str], since: Optional[str], epoch: Optional[str]) -> Dict[str, str]:
        answer = await self._commands.ask("subscribe", tags=names, references=since,
                                          epoch=None if since in (None, "now") else epoch)
        cursors: Dict[str, str] = {}
        new_epoch = str(answer.get("epoch", ""))
        for name, place in answer.get("groups", {}).items():
            subscription = self._groups.get(name)
            if subscription is None:  # unsubscribed meanwhile
                continue
            cursors[name] = str(place.get("cursor", ""))
            known, subscription.epoch = subscription.epoch, new_epoch
            subscription.since = cursors[name] if new_epoch else None
            subscription.live = True
            if not place.get("recovered", True):
                self._events.emit("gap", Gap(name, bool(known and new_epoch and known != new_epoch)))
        return cursors

    async def unsubscribe(self, groups: Addresses) -> None:
        names = listed(groups)
        for name in names:
            self._groups.pop(name, None)
        await self._commands.ask("unsubscribe", tags=names)

    def dropped(self, names: List[str]) -> None:
        """A new token does not allow these groups any more."""
        for name in names:
            if self._groups.pop(name, None) is not None:
                self._events.emit("error", RejectedError("forbidden-to", f"the new token does not allow {name}"))

    def acknowledged(self, group: str, cursor: str) -> None:
        """The place from which the next session goes on."""
        subscription = self._groups.get(group)
        if subscription is not None and cursor and subscription.epoch:
            subscription.since = cursor

    def new_epoch(self, epoch: str) -> None:
        """The server has lost its data: no place means anything any more. The next session begins at the beginning
        of the new logs; handled messages are known by their ids."""
        for subscription in self._groups.values():
            if subscription.epoch and subscription.epoch != epoch and subscription.live:
                subscription.since, subscription.epoch = "0-0", epoch
                subscription.anew = True

    def lost_data(self, group: str) -> bool:
        """A gap was told of: true, once, when its cause is that the server has lost its data."""
        subscription = self._groups.get(group)
        lost = subscription is not None and subscription.anew
        if subscription is not None:
            subscription.anew = False
        return lost

    async def again(self) -> None:
        """Subscribes again after a lost connection, to one group after the other: each goes on from a place of its own."""
        for name in [name for name, subscription in self._groups.items() if subscription.live]:
            subscription = self._groups.get(name)
            if subscription is None:
                continue
            try:
                await self._ask([name], subscription.since, subscription.epoch)
            except RejectedError as error:
                self._groups.pop(name, None)
                self._events.emit("error", error)
            except ClosedError:
                return
