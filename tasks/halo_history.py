"""How far back Halo's events reach: what settings, plans and advice all have to know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

HALO_KEEPS = timedelta(days=90)
"""How long Halo keeps events; what is older can no longer be read."""
HALO_BEGAN = datetime(2010, 1, 1, tzinfo=UTC)
"""No event is older than this."""
