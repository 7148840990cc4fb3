"""The pins of a graph: which layers, and which single keys, are bound to pools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.graph.annotate import as_pin
from dask_pools.graph.locating import Located
from dask_pools.model import PIN, Pin


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins of the layers and keys of a graph.

    Parameters
    ----------
    layers : dict
        The pin of each layer, None if it is free.
    keys : dict
        Pins of single keys, of layers whose annotation differs from key to key.
    mixed : set of str
        The names of these layers.
    """

    layers: dict[str, Pin | None]
    keys: dict[Key, Pin]
    mixed: set[str]

    @property
    def any(self) -> bool:
        """Whether anything is pinned at all."""
        return bool(self.keys) or any(self.layers.values())

    def pools(self) -> tuple[str, ...]:
        """Name all the pools that pins lead to, sorted."""
        pins = {*self.layers.values(), *self.keys.values()}
        return tuple(sorted({name for pin in pins if pin for name in pin}))


def find_pins(
    graph: adapter.HighLevelGraph,
    default: Pin | None,
    pools: Iterable[str] | None,
    carried: Mapping[str, adapter.Taken] | None = None,
    located: Located | None = None,
) -> Pins:
    """Read the pins of a graph from the annotations of its layers.

    What these say comes first, then what paths say, then the pin of the computation: data can
    only be read where it lives.

    Parameters
    ----------
    graph : HighLevelGraph
        The graph, as the collections made it.
    default : tuple of str or None
        The pin of what has no pin of its own.
    pools : iterable of str or None
        The pools that have workers. Mirrors without workers are left out; a pin that would
        lose all its pools stays as it is, for the scheduler to refuse it. None if unknown.
    carried : mapping, optional
        Pins that tasks have carried with them, by layer.
    located : Located, optional
        Pins that follow from paths.
    """
    there = None if pools is None else frozenset(pools)
    located = located or Located()
    layers: dict[str, Pin | None] = {}
    keys: dict[Key, Pin] = {}
    mixed: set[str] = set()
    for name, layer in graph.layers.items():
        annotations = layer.annotations or {}
        annotation = annotations.get(PIN)
        by_path = located.of(name)
        if callable(annotation):
            layers[name] = None
            mixed.add(name)
            keys.update(_pins_of_keys(layer, annotation, by_path, default, there))
        elif PIN in annotations and not annotation:
            layers[name] = None  # pool(None) also blocks the pin of the computation
        elif inside := adapter.layers_inside(layer):
            layers[name] = None
            mixed.add(name)
            for part in inside.values():
                said = (part.annotations or {}).get(PIN)
                keys.update(_pins_of_keys(part, said, by_path, default, there))
        elif not annotation and name in located.keys:
            layers[name] = None
            mixed.add(name)
            keys.update(_pins_of_keys(layer, None, by_path, default, there))
        else:
            pin = as_pin(annotation) or located.layers.get(name) or default
            layers[name] = _present(pin, there)
    for name, taken in (carried or {}).items():
        # In the layers of other keys, as in those of data frames, nothing else is said of them.
        if name not in mixed:
            rest = layers[name]
            keys.update({} if rest is None else dict.fromkeys(graph.layers[name], rest))
            layers[name] = None
            mixed.add(name)
        keys.update({key: _present(pin, there) or pin for key, pin in taken.pins.items()})
    return Pins(layers, keys, mixed)


def _pins_of_keys(
    keys: Iterable[Key],
    annotation: Any,
    by_path: Callable[[Key], Pin | None],
    default: Pin | None,
    there: frozenset[str] | None,
) -> dict[Key, Pin]:
    """Read the pins of the keys of one layer; free keys are left out.

    A key of which nothing is said has the pin of its path, or the default; one whose pin is
    empty is free.
    """
    pins: dict[Key, Pin] = {}
    for key in keys:
        said = annotation(key) if callable(annotation) else annotation
        pin = _present(None if said == () else as_pin(said) or by_path(key) or default, there)
        if pin:
            pins[key] = pin
    return pins


def _present(pin: Pin | None, there: frozenset[str] | None) -> Pin | None:
    """Leave out the mirrors that have no workers, unless none is left."""
    if pin is None or there is None or len(pin) == 1:
        return pin
    return tuple(name for name in pin if name in there) or pin
