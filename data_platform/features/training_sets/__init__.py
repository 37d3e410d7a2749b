"""Training sets: feature rows with labels, split by time, registered under an id that always gives the same rows.
Belongs here: building, registering, loading. Not here: models (domains/churn), joins to other moments than whole days
(store), Dagster."""

from data_platform.features.training_sets.building import build, eligible, rebuild
from data_platform.features.training_sets.manifest import Manifest
from data_platform.features.training_sets.registry import TrainingSet, load, registered
from data_platform.features.training_sets.splits import TimeSplit

__all__ = ["Manifest", "TimeSplit", "TrainingSet", "build", "eligible", "load", "rebuild", "registered"]
