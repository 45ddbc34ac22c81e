"""How hard the laws are tried: `HYPOTHESIS_PROFILE=soak` for thousands of cases."""

import os

from hypothesis import HealthCheck, settings

# No deadline: on a busy machine the time of one example says nothing.
settings.register_profile("default", deadline=None)
settings.register_profile("soak", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
