"""FOCUS, the FinOps open cost and usage specification: bills that are read, costs that are written."""
