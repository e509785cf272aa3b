"""The two other APIs that gcloud asks before it deploys: quotas and their use."""

from __future__ import annotations

from typing import Any

from weightdrop.core.planning.tables import packaged_tables
from weightdrop.local.vertex.machines import Budget
from weightdrop.local.vertex.router import Call, Router
from weightdrop.local.vertex.store import now

JSON = dict[str, Any]


class QuotaCalls:
    """Cloud Quotas' quotaInfos and Cloud Monitoring's timeSeries, as far as asked.

    Args:
        router: Where the first one is bound.
        budget: The accelerators there are.
    """

    def __init__(self, router: Router, budget: Budget) -> None:
        self._budget = budget
        path = "/services/aiplatform.googleapis.com/quotaInfos/{quota}"
        router.add("GET", path, self._info)

    async def _info(self, call: Call) -> JSON:
        quota = call.parts["quota"]
        return {
            "name": f"{call.place.path}{call.rest}",
            "quotaId": quota,
            "service": "aiplatform.googleapis.com",
            "dimensions": ["region"],
            "dimensionsInfos": [
                {
                    "dimensions": {"region": region},
                    "details": {"value": str(self._budget.total)},
                    "applicableLocations": [region],
                }
                for region in sorted(packaged_tables().regions)
            ],
        }

    def series(self) -> JSON:
        """How many accelerators are in use, as one time series."""
        time = now()
        point = {
            "interval": {"startTime": time, "endTime": time},
            "value": {"int64Value": str(self._budget.used())},
        }
        return {
            "timeSeries": [
                {"metricKind": "GAUGE", "valueType": "INT64", "points": [point]}
            ]
        }
