"""What a person asks of metering on the command line: a module a group. Not here: how it is answered."""
