"""Where the boxes of a drawing go: columns from left to right, arrows forward, few crossings.

The way of Sugiyama, in four steps that are plain functions over numbers:

1. arrows that close a cycle are turned round (a gathered drawing may have cycles);
2. a box stands in the column left of its leftmost consumer;
3. an arrow over several columns gets a knee in each; the boxes and knees of a column are
   ordered by the mean of their neighbours, to and fro; the order with fewest crossings is kept;
4. heights: each column is moved as near to the mean of its neighbours as the order and the
   distances allow, which is an isotonic regression and solved exactly.

It makes no use of chance: the same drawing is laid out in the same way everywhere.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

Arrow = tuple[int, int]

#: Rounds of ordering and of levelling; more of them change nothing that the eye can see.
_ORDER_ROUNDS = 12
_LEVEL_ROUNDS = 16
#: A knee holds its place more strongly than a box, so that long arrows are straight.
_KNEE_WEIGHT = 3.0
_KNEE_HEIGHT = 4.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns and heights.

    Parameters
    ----------
    columns : tuple of int
        The column of each box, 0 at the left.
    heights : tuple of float
        The middle of each box, downward from the top edge of the layout.
    knees : dict of arrow to tuple of (column, height)
        The points which an arrow passes on its way, for arrows over several columns.
    extent : float
        The height of the whole.
    """

    columns: tuple[int, ...]
    heights: tuple[float, ...]
    knees: dict[Arrow, tuple[tuple[int, float], ...]]
    extent: float


def lay_out(sizes: Sequence[float], arrows: Sequence[Arrow], gap: float) -> Layout:
    """Find a place for each box.

    Parameters
    ----------
    sizes : sequence of float
        The height of each box.
    arrows : sequence of (int, int)
        From box to box.
    gap : float
        The least distance between two boxes of a column.

    Examples
    --------
    >>> layout = lay_out([20, 20, 20], [(0, 2), (1, 2)], gap=10)
    >>> layout.columns, layout.heights, layout.extent
    ((0, 0, 1), (10.0, 40.0, 25.0), 50.0)
    """
    n = len(sizes)
    if not n:
        return Layout((), (), {}, 0.0)
    forward = acyclic(n, arrows)
    net = _Net.of(sizes, forward)
    order = _ordered(net)
    heights = _levelled(net, order, gap)
    top = min(h - s / 2 for h, s in zip(heights, net.sizes, strict=True))
    heights = [h - top for h in heights]
    knees = {
        arrow: tuple((net.columns[k], heights[k]) for k in chain)
        for arrow in arrows
        if (chain := net.knees_of(arrow))
    }
    extent = max(h + s / 2 for h, s in zip(heights, net.sizes, strict=True))
    return Layout(net.columns[:n], tuple(heights[:n]), knees, extent)


@dataclass(frozen=True, slots=True)
class _Net:
    """Boxes, then knees, with arrows only between columns next to each other."""

    columns: tuple[int, ...]
    sizes: tuple[float, ...]
    weights: tuple[float, ...]
    before: list[list[int]]
    after: list[list[int]]
    chains: dict[Arrow, list[int]]

    @classmethod
    def of(cls, sizes: Sequence[float], forward: Sequence[Arrow]) -> _Net:
        columns = list(columns_of(len(sizes), forward))
        chains: dict[Arrow, list[int]] = {}
        pieces: list[Arrow] = []
        for source, target in forward:
            between = range(columns[source] + 1, columns[target])
            chain = list(range(len(columns), len(columns) + len(between)))
            columns += between
            chains[source, target] = chain
            pieces += pairwise([source, *chain, target])
        knees = len(columns) - len(sizes)
        before, after = _neighbours(len(columns), pieces)
        return cls(
            tuple(columns),
            (*sizes, *[_KNEE_HEIGHT] * knees),
            (*[1.0] * len(sizes), *[_KNEE_WEIGHT] * knees),
            before,
            after,
            chains,
        )

    def knees_of(self, arrow: Arrow) -> list[int]:
        """Knees of an arrow in its own direction, which may be against the columns."""
        return self.chains[arrow] if arrow in self.chains else self.chains[arrow[::-1]][::-1]


def acyclic(n: int, arrows: Sequence[Arrow]) -> tuple[Arrow, ...]:
    """Turn the arrows round that close a cycle; sorted, none twice.

    Examples
    --------
    >>> acyclic(3, [(0, 1), (1, 2), (2, 0)])
    ((0, 1), (0, 2), (1, 2))
    """
    _, after = _neighbours(n, arrows)
    new, open_, done = 0, 1, 2
    state = [new] * n
    forward: set[Arrow] = set()
    has_input = {target for _, target in arrows}
    # From boxes without input first, so that only a real cycle is ever cut.
    for root in sorted(range(n), key=lambda box: (box in has_input, box)):
        stack = [(root, iter(after[root]))] if state[root] == new else []
        state[root] = max(state[root], open_)
        while stack:
            box, rest = stack[-1]
            target = next(rest, None)
            if target is None:
                state[box] = done
                stack.pop()
                continue
            forward.add((target, box) if state[target] == open_ else (box, target))
            if state[target] == new:
                state[target] = open_
                stack.append((target, iter(after[target])))
    return tuple(sorted(forward))


def columns_of(n: int, arrows: Sequence[Arrow]) -> tuple[int, ...]:
    """Put each box as far to the right as its consumers allow.

    Parameters
    ----------
    n : int
        Number of boxes.
    arrows : sequence of (int, int)
        Without a cycle.

    Examples
    --------
    >>> columns_of(4, [(0, 1), (1, 2), (3, 2)])
    (0, 1, 2, 1)
    """
    before, after = _neighbours(n, arrows)
    waiting = [len(consumers) for consumers in after]
    to_right = [0] * n
    ready = [box for box in range(n) if not waiting[box]]
    for box in ready:
        for source in before[box]:
            to_right[source] = max(to_right[source], to_right[box] + 1)
            waiting[source] -= 1
            if not waiting[source]:
                ready.append(source)
    last = max(to_right, default=0)
    return tuple(last - steps for steps in to_right)


def crossings(order: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> int:
    """Count the crossings of arrows between columns.

    Parameters
    ----------
    order : sequence of sequence of int
        The boxes of each column from top to bottom.
    after : sequence of sequence of int
        The boxes of the next column to which each box has an arrow.

    Examples
    --------
    >>> crossings([[0, 1], [2, 3]], [[3], [2], [], []])
    1
    """
    count = 0
    for left, right in pairwise(order):
        place = {box: p for p, box in enumerate(right)}
        seen: list[int] = []
        for box in left:
            ends = [place[target] for target in after[box]]
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _neighbours(n: int, arrows: Sequence[Arrow]) -> tuple[list[list[int]], list[list[int]]]:
    before: list[list[int]] = [[] for _ in range(n)]
    after: list[list[int]] = [[] for _ in range(n)]
    for source, target in sorted(set(arrows)):
        before[target].append(source)
        after[source].append(target)
    return before, after


def _ordered(net: _Net) -> list[list[int]]:
    order = _first_order(net)
    best, fewest = [list(column) for column in order], crossings(order, net.after)
    for round_ in range(_ORDER_ROUNDS):
        if not fewest:
            break
        if round_ % 2 == 0:
            for fixed, column in pairwise(order):
                _sort_by_neighbours(column, fixed, net.before)
        else:
            for fixed, column in pairwise(order[::-1]):
                _sort_by_neighbours(column, fixed, net.after)
        count = crossings(order, net.after)
        if count < fewest:
            best, fewest = [list(column) for column in order], count
    return best


def _first_order(net: _Net) -> list[list[int]]:
    """Walk from the last column to the left, so that what belongs to one result is together."""
    order: list[list[int]] = [[] for _ in range(max(net.columns) + 1)]
    seen: set[int] = set()
    for root in sorted(range(len(net.columns)), key=lambda box: (-net.columns[box], box)):
        stack = [root]
        while stack:
            box = stack.pop()
            if box not in seen:
                seen.add(box)
                order[net.columns[box]].append(box)
                stack += reversed(net.before[box])
    return order


def _sort_by_neighbours(
    column: list[int], fixed: Sequence[int], neighbours: Sequence[Sequence[int]]
) -> None:
    place = {box: float(p) for p, box in enumerate(fixed)}
    own = {box: float(p) for p, box in enumerate(column)}
    column.sort(key=lambda box: (_mean([place[x] for x in neighbours[box]], own[box]), own[box]))


def _levelled(net: _Net, order: list[list[int]], gap: float) -> list[float]:
    heights = [0.0] * len(net.sizes)
    offsets = [_offsets([net.sizes[box] for box in column], gap) for column in order]
    for column, offset in zip(order, offsets, strict=True):
        for box, height in zip(column, offset, strict=True):
            heights[box] = height
    both = [[*before, *after] for before, after in zip(net.before, net.after, strict=True)]
    for round_ in range(_LEVEL_ROUNDS):
        rightward = round_ % 2 == 0
        neighbours = net.before if rightward else net.after
        if round_ >= _LEVEL_ROUNDS - 2:
            neighbours = both  # at last to the middle between the two sides
        for number in range(len(order))[:: 1 if rightward else -1]:
            column, offset = order[number], offsets[number]
            wanted = [_mean([heights[x] for x in neighbours[b]], heights[b]) for b in column]
            # With the least distances taken off, "in order and apart" is "not decreasing".
            shifted = [w - o for w, o in zip(wanted, offset, strict=True)]
            level = isotonic(shifted, [net.weights[box] for box in column])
            for box, value, o in zip(column, level, offset, strict=True):
                heights[box] = value + o
    return heights


def _offsets(sizes: Sequence[float], gap: float) -> list[float]:
    """Middles of boxes that stand as close as they may, from the edge downward."""
    tops = accumulate((size + gap for size in sizes), initial=0.0)
    return [top + size / 2 for top, size in zip(tops, sizes, strict=False)]


def isotonic(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Find the non-decreasing numbers nearest to the wanted ones, in weighted least squares.

    Examples
    --------
    >>> isotonic([1.0, 3.0, 2.0, 5.0], [1, 1, 1, 1])
    [1.0, 2.5, 2.5, 5.0]
    """
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, heavy, length = blocks.pop()
            total = heavy + block[1]
            block = ((mean * heavy + block[0] * block[1]) / total, total, length + block[2])
        blocks.append(block)
    return [mean for mean, _, length in blocks for _ in range(length)]


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
