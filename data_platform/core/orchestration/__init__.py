"""From contract to Dagster: assets, checks, partitions, automation. Not here: where Dagster keeps them (instance)."""

import warnings

import dagster as dg

# Partitioned check specs, backfill policies and lenient partition mappings are marked preview or beta in Dagster 1.13;
# a line for each use would bury everything else. Who uses them outside the platform is still told.
for _category in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"data_platform\.")
