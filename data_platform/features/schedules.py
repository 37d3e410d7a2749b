"""When the log of served vectors is taken into the lake. Not here: taking it in (skew/landing)."""

from __future__ import annotations

from data_platform.core.orchestration.schedules import by_the_clock, job_of
from data_platform.core.settings import settings
from data_platform.features.contracts import ServedFeatures
from data_platform.features.skew.landing import waiting_files

served_features = job_of("served_features", "The log of served feature vectors, taken into the lake.", ServedFeatures)
served_features_every_quarter = by_the_clock(
    "served_features_every_quarter",
    served_features,
    "*/15 * * * *",
    "Every 15 minutes, if any were logged: served feature vectors into the lake.",
    run_key=lambda moment: f"served-{moment:%Y-%m-%dT%H:%M}",
    unless=lambda: None if waiting_files(settings().served) else "No feature vectors were logged.",
)
