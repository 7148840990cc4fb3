"""What the size of a value rests on, as far as it is known before the value exists."""

from __future__ import annotations

from enum import IntEnum


class Basis(IntEnum):
    """What a size rests on; the better one has the smaller number.

    Arrays of `Basis` are arrays of its numbers, of type int8.

    Examples
    --------
    >>> [str(basis) for basis in Basis]
    ['exact', 'learned', 'assumed']
    """

    #: It follows from shapes and types, or the value is there already.
    EXACT = 0
    #: The mean over earlier results of the same kind of task.
    LEARNED = 1
    #: Nothing better is known: a guess from what the task takes in.
    ASSUMED = 2

    def __str__(self) -> str:
        """Return the word for it."""
        return self.name.lower()
