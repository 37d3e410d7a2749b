"""The health page: what is broken, since when, who owns it, which rows, what to do. Read-only, without JavaScript."""
