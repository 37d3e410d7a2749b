"""The only place that says what the research tables are: what changes, what is done, what is said."""
