"""How hard the laws are tried: in CI a few thousand cases in all, with BURSAR_SOAK=1 thousands of each law.

`make test-fast` (BURSAR_FAST=1) tries a tenth of what CI tries.
"""

import os
from typing import Final

from hypothesis import HealthCheck, settings

SOAK: Final = os.environ.get("BURSAR_SOAK") == "1"
CASES: Final = 5_000 if SOAK else 20 if os.environ.get("BURSAR_FAST") == "1" else 120

# No deadline: on a busy machine the time of one example says nothing.
settings.register_profile("laws", deadline=None, max_examples=CASES, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")
