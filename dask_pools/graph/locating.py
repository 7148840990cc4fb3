"""Pins from paths: what nobody pinned, and takes its data from a location, is pinned to it.

A task that takes data from several places can run only where all of them can be reached: in a
pool that all of their locations have. If there is none, nothing is run: wherever it was, it would
read another pool's storage, which a missing chunk of zarr would not even tell. A task of which no
path is in any location is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from dask.typing import Key

from dask_pools.errors import LocationError, UnknownPoolError, near_miss, one_of
from dask_pools.graph import adapter
from dask_pools.model import PIN, Location, Locations, Pin
from dask_pools.model.locations import place_of


@dataclass(frozen=True, slots=True)
class Located:
    """The layers and keys of a graph of which the paths tell where they have to run.

    Parameters
    ----------
    layers : dict
        The pin of each layer whose tasks all have the same.
    keys : dict
        By layer, the pins of single keys of those whose tasks differ.
    because : dict
        By pin, one path that leads to it, and its location.
    """

    layers: dict[str, Pin] = field(default_factory=dict)
    keys: dict[str, dict[Key, Pin]] = field(default_factory=dict)
    because: dict[Pin, tuple[str, Location]] = field(default_factory=dict)

    def of(self, name: str) -> Callable[[Key], Pin | None]:
        """Return the function that tells the pins of the keys of a layer."""
        keys, pin = self.keys.get(name, {}), self.layers.get(name)
        return lambda key: keys.get(key, pin)


def locate(graph: adapter.HighLevelGraph, locations: Locations) -> Located:
    """Find the pins of what takes its data from known places. Nothing is opened.

    Parameters
    ----------
    graph : HighLevelGraph
        The graph, as the collections made it.
    locations : Locations
        Which data lives where.

    Returns
    -------
    Located
        Of what the user has pinned, or freed by ``pool(None)``, it says nothing.

    Raises
    ------
    LocationError
        If a task takes data from several places, and no pool has all of it.
    """
    located = Located()
    if locations:
        look_up = _Lookup(locations, located.because)
        done = _said(graph.layers)
        for name, layer in graph.layers.items():
            if name not in done and (inside := adapter.layers_inside(layer)):
                done.add(name)
                _add(located, name, layer, _inside(inside, look_up))
        for name, found in adapter.origins(graph, done):
            layer = graph.layers[name]
            if found.keys or callable((layer.annotations or {}).get(PIN)):
                _add(located, name, layer, _keys(layer, found, look_up))
            elif pin := look_up(found.shared, name):
                located.layers[name] = pin
    return located


def refuse_missing(
    located: Located, pins: Iterable[Pin], present: Collection[str], awaited: Collection[str]
) -> None:
    """Refuse pins from paths to pools that have no workers.

    Parameters
    ----------
    located : Located
        Of the graph.
    pins : iterable of tuple of str
        The pins of the tasks that are left of it.
    present, awaited : collection of str
        The pools that have workers, and those that have lost theirs, and whose tasks wait.

    Raises
    ------
    UnknownPoolError
        If no pool of a location has workers. It tells the path and the location.
    """
    for pin in pins:
        if pin not in located.because or any(p in present or p in awaited for p in pin):
            continue
        path, location = located.because[pin]
        several = f"any of the pools {one_of(pin)}" if len(pin) > 1 else f"pool {pin[0]!r}"
        raise UnknownPoolError(
            f"No worker is in {several}, where the data of {path!r} lives, by the location "
            f"{location.prefix!r}. Pools with workers: {one_of(present)}."
            f"{near_miss(pin[0], present)} Correct the location (set_locations, or "
            f"dask_pools.locations in Dask's configuration), or start workers with the resource "
            f"'pool-{pin[0]}=1'. Nothing has been run."
        )


def _said(layers: Mapping[str, adapter.Layer]) -> set[str]:
    """Name the layers of which the user has said where they run, or that it may be anywhere."""
    said = set()
    for name, layer in layers.items():
        annotations = layer.annotations or {}
        if PIN in annotations and not callable(annotations[PIN]):
            said.add(name)
    return said


def _keys(layer: adapter.Layer, found: adapter.Origins, look_up: _Lookup) -> dict[Key, Pin]:
    """Find the pins of the keys of a layer of which nothing else is said."""
    said = (layer.annotations or {}).get(PIN)
    keys: Iterable[Key] = layer if found.shared else found.keys
    free = [key for key in keys if said(key) is None] if callable(said) else keys
    pins = ((key, look_up([*found.shared, *found.keys.get(key, ())], key)) for key in free)
    return {key: pin for key, pin in pins if pin}


def _inside(layers: Mapping[str, adapter.Layer], look_up: _Lookup) -> dict[Key, Pin]:
    """Find the pins of the keys of a graph that has become one layer."""
    pins: dict[Key, Pin] = {}
    for name, found in adapter.origins(adapter.HighLevelGraph(dict(layers), {}), _said(layers)):
        pins.update(_keys(layers[name], found, look_up))
    return pins


def _add(located: Located, name: str, layer: adapter.Layer, keys: dict[Key, Pin]) -> None:
    """Note the pins of the keys of a layer; one pin that all of them have is that of the layer."""
    pins = set(keys.values())
    if len(pins) == 1 and len(keys) == len(layer):
        located.layers[name] = pins.pop()
    elif keys:
        located.keys[name] = keys


def _nowhere(task: Key, known: Mapping[str, Location]) -> LocationError:
    """Make the error for a task that takes data from places which no pool has all of."""
    by_prefix = {location.prefix: (path, location) for path, location in known.items()}
    places = " and ".join(
        f"{place_of(path)!r} ({one_of(location.pools)}, by the location {prefix!r})"
        for prefix, (path, location) in sorted(by_prefix.items())
    )
    return LocationError(
        f"The task {task!r} takes data from {places}, and no pool has all of it. Nothing has been "
        "run. Read each in a task of its own; or say where this task runs, by pool(...) around "
        "what makes it; or by pool(None) that it may run anywhere. If dask.delayed(f)(array) or "
        "to_delayed() has made it, call these inside of propagate_pools(locate=True), so that Dask "
        "does not fuse reads of several places."
    )


class _Lookup:
    """Finds the pools in which all of some paths can be read.

    Parameters
    ----------
    locations : Locations
        Which data lives where.
    because : dict
        Notes, for each pin, a path that leads to it, and its location.
    """

    def __init__(self, locations: Locations, because: dict[Pin, tuple[str, Location]]) -> None:
        self.locations = locations
        self.because = because
        self._found: dict[str, Location | None] = {}

    def __call__(self, paths: Iterable[str], task: Key) -> Pin | None:
        known = {path: found for path in paths if (found := self._location_of(path))}
        if not known:
            return None
        path, first = next(iter(known.items()))
        pin = tuple(p for p in first.pools if all(p in other.pools for other in known.values()))
        if not pin:
            raise _nowhere(task, known)
        self.because.setdefault(pin, (place_of(path) or path, first))
        return pin

    def _location_of(self, path: str) -> Location | None:
        if path not in self._found:
            self._found[path] = self.locations.location_of(path)
        return self._found[path]
