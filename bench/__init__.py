"""Measurements of the production gateway, each beside a bare peer in the same run: `python -m bench --help`."""
