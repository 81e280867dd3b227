"""Dagster assets, checks, partitions and resource classes: thin calls into `quality` and `models`."""
