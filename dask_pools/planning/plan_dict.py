"""A plan as what JSON knows; `Plan.to_dict` says what its keys mean."""

from __future__ import annotations

import math
from typing import Any

from dask_pools.planning.basis import Basis
from dask_pools.planning.plan import Plan


def plan_dict(plan: Plan) -> dict[str, Any]:
    """Return the numbers of a plan as dicts, lists, strings and numbers."""
    return {
        "policy": plan.policy,
        "objective": plan.objective,
        "cost": _finite(plan.cost),
        "bound": _finite(plan.bound),
        "excess": _finite(plan.excess),
        "bytes": plan.nbytes,
        "seconds": _finite(plan.seconds),
        "money": _finite(plan.money),
        "currency": plan.currency,
        "pools": [
            {
                "name": pool.name,
                "tasks": pool.tasks,
                "bytes_read": _finite(pool.nbytes_read),
                "seconds": _finite(pool.seconds),
                "threads": pool.threads,
            }
            for pool in plan.by_pool
        ],
        "unplaced": plan.unplaced,
        "links": [
            {
                "source": part.link.source,
                "target": part.link.target,
                "transfers": part.transfers,
                "bytes": float(part.nbytes),
                "seconds": _finite(part.seconds),
                "money": _finite(part.money),
            }
            for part in plan.by_link
        ],
        "arrays": [
            {
                "name": part.name,
                "source": part.link.source,
                "target": part.link.target,
                "transfers": part.transfers,
                "bytes": float(part.nbytes),
                "sizes": str(part.basis),
                "because": None if part.because is None else list(part.because),
            }
            for part in plan.by_array
        ],
        "sizes": {str(basis): float(plan.shares.get(basis, 0.0)) for basis in Basis},
        "copies": plan.copies,
        "regrouped": plan.regrouped,
        "alternatives": {name: other.to_dict() for name, other in plan.alternatives.items()},
    }


def _finite(number: float | None) -> float | None:
    """Leave out what JSON has no number for."""
    return float(number) if number is not None and math.isfinite(number) else None
