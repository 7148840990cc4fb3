"""How long things take: tasks on the threads of a pool, bytes on a link."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import PlacementError


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """The time that the tasks and the links of a placement problem take.

    Parameters
    ----------
    durations : ndarray of float64, shape (n,)
        Seconds that each task takes on one thread.
    threads : ndarray of float64, shape (P,)
        Worker threads of each pool, more than zero.
    seconds : ndarray of float64, shape (P, P)
        Seconds that a byte takes on the directed link ``[source, target]``; zero on the diagonal.
    """

    durations: NDArray[np.float64]
    threads: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def restricted(self, keep: NDArray[np.bool_]) -> Work:
        """Leave out values."""
        return replace(self, durations=self.durations[keep])

    def validate(self, n: int, pools: int) -> None:
        """Check that shapes and numbers make sense.

        Raises
        ------
        PlacementError
            If they do not.
        """
        shapes = {
            "durations": (self.durations, (n,)),
            "threads": (self.threads, (pools,)),
            "seconds": (self.seconds, (pools, pools)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise PlacementError(
                    f"{name} of the work of a placement problem has shape {array.shape}; "
                    f"it must be {shape}."
                )
            wrong = ~(np.isfinite(array) & (array >= 0))
            if wrong.any():
                where = tuple(int(i) for i in np.argwhere(wrong)[0])
                raise PlacementError(
                    f"{name}{list(where)} of the work of a placement problem is {array[where]}: "
                    "it must be finite and not negative."
                )
        if not self.threads.all():
            i = int((self.threads == 0).argmax())
            raise PlacementError(
                f"threads[{i}] of the work of a placement problem is 0: tasks in that pool would "
                "never end. Count a pool without workers as one thread."
            )
