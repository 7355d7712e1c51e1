"""What a row of the table of behaviours is: a promise in words, and the function that sees it kept."""

import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Row:
    """everywhere: in all variants; else in two alone, because the row takes seconds or restarts a part of the office."""

    promise: str
    play: typing.Callable
    everywhere: bool


class Table(list):
    """A list of rows that grows by decorated functions: `@table.row("a promise")`."""

    def row(self, promise, everywhere=True):
        def enter(play):
            self.append(Row(promise, play, everywhere))
            return play

        return enter
