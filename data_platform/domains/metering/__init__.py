"""Metering: from calls of language models to what each tenant owes. Not here: how lines are received or served."""
