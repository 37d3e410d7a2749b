"""Machinery shared by all domains: contracts, the lake, partitions, checks, automation. Knows no domain."""
