"""A scheduler with the plugin and its corrections, whoever has put them there."""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, SchedulerPlugin

from dask_pools.scheduler.arrivals.corrections import Corrections
from dask_pools.scheduler.plugin import PoolsPlugin


class Listener(SchedulerPlugin):
    def __init__(self, scheduler: Scheduler, corrections: Corrections) -> None:
        self.scheduler = scheduler
        self.corrections = corrections

    def transition(
        self, key: Any, start: str, finish: str, *_: Any, stimulus_id: str, **__: Any
    ) -> None:
        self.corrections.transitioned(self.scheduler.tasks[key], start, finish, stimulus_id)


async def install(scheduler: Scheduler) -> tuple[PoolsPlugin, Corrections]:
    plugin = PoolsPlugin()
    await plugin.start(scheduler)
    corrections = getattr(plugin, "corrections", None)
    if corrections is None:
        corrections = Corrections(scheduler, plugin.roster, plugin.learned)
        plugin.submissions.estimated.append(corrections.expect)
        scheduler.add_plugin(Listener(scheduler, corrections), name="corrections")
    return plugin, corrections
