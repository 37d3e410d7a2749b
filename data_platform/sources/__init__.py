"""Connections to the outside: what arrives, and how it gets into raw tables exactly once. Knows no domain."""
