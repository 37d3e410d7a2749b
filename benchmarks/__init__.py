"""What the platform promises of speed, memory and size, measured against references, side by side.

Start with `python -m benchmarks [NAME...] [--scale 0.1]`; `README.md` says what is measured and holds the last results.
"""
