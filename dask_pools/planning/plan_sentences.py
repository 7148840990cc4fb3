"""What a plan says to people in words; `plan_text` and `plan_html` show it."""

from __future__ import annotations

from dask_pools.planning.plan import Plan
from dask_pools.units import (
    counted,
    format_bytes,
    format_excess,
    format_money,
    format_seconds,
    format_share,
)


def headline(plan: Plan) -> str:
    """Say a plan in one line.

    Examples
    --------
    >>> headline(Plan(tasks={"ecmwf": 1200, "eumetsat": 34}, transfers=()))
    '1,234 tasks in 2 pools, nothing crosses'
    """
    tasks = counted(sum(plan.tasks.values()), "task")
    pools = counted(sum(1 for pool in plan.by_pool if pool.tasks), "pool")
    return f"{tasks} in {pools}, {_crossing(plan)}"


def _crossing(plan: Plan) -> str:
    transfers = sum(link.transfers for link in plan.by_link)
    if not transfers:
        return "nothing crosses"
    money = f" for {format_money(plan.money, plan.currency)}" if plan.money else ""
    return f"{format_bytes(plan.nbytes)} in {counted(transfers, 'transfer')}{money}"


def sentences(plan: Plan) -> list[tuple[str, str]]:
    """Say what else is to be said of a plan: pairs of a heading and a sentence."""
    said = [("Optimum", optimum(plan)), ("Sizes", bases(plan))]
    if plan.copies:
        said.append(("Copies", f"{counted(plan.copies, 'source')} made in several pools"))
    if plan.regrouped:
        said.append(("Regrouped", f"{counted(plan.regrouped, 'reduction')}, pool by pool"))
    return [(heading, sentence) for heading, sentence in said if sentence]


#: What no placement does less, if its objective is this.
_DOES = {"bytes": "moves", "money": "costs", "time": "takes"}


def optimum(plan: Plan) -> str:
    """Say how far a plan is from the optimum.

    Examples
    --------
    >>> optimum(Plan(tasks={}, transfers=(), objective="time", cost=12.0, bound=10.0))
    'at most 20 % above it: 12 s, no placement takes less than 10 s (policy mincut)'
    """
    who = f"(policy {plan.policy})"
    if plan.cost is None:
        return ""
    cost = _amount(plan, plan.cost)
    less = f"{_DOES[plan.objective]} less"
    if plan.bound is None:
        return f"not known: {cost} {who}"
    if plan.excess == 0:
        return f"no placement {less} {who}"
    bound = _amount(plan, plan.bound)
    excess = (
        "it may be 0" if plan.excess is None else f"at most {format_excess(plan.excess)} above it"
    )
    return f"{excess}: {cost}, no placement {less} than {bound} {who}"


def bases(plan: Plan) -> str:
    """Say on what the sizes of all that crosses rest.

    Examples
    --------
    >>> from dask_pools.planning.basis import Basis
    >>> bases(Plan(tasks={}, transfers=(), shares={Basis.EXACT: 9.0, Basis.LEARNED: 1.0}))
    '90 % of the bytes exact, 10 % learned'
    """
    total = sum(plan.shares.values())
    if not total:
        return ""
    first, *others = [
        f"{format_share(nbytes / total)}{{}} {basis}"
        for basis, nbytes in sorted(plan.shares.items())
        if nbytes
    ]
    return ", ".join([first.format(" of the bytes"), *(part.format("") for part in others)])


def _amount(plan: Plan, amount: float) -> str:
    """Render an amount in the unit of a plan's objective."""
    if plan.objective == "time":
        return format_seconds(amount)
    if plan.objective == "money":
        return format_money(amount, plan.currency)
    return format_bytes(amount)
