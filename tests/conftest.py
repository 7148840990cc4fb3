"""Profiles of Hypothesis: ``dev`` looks for new examples at every run, ``ci`` repeats itself."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Other work on the machine makes examples slow; tests have their own time limit.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", **_COMMON, print_blob=True)
settings.register_profile("ci", **_COMMON, derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
