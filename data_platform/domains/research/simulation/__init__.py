"""The pretend research studio: `studio` runs it; `people` makes personas and what they say, `discussions` the events of
focus groups, `calls` the language models behind them, `dirt` what goes wrong on the way. Not here: how lines become
files (simulation/writer)."""
