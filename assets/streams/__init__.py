"""Streams of events for the nearline lane: one module per kind, all with the contract of `assets.streams.contract`."""
