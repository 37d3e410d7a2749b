"""The pretend research studio: `studio` runs it; `people` makes personas and what they say, `discussions` the events of
focus groups, `dirt` what goes wrong on their way. Not here: how lines become files (simulation/writer)."""
