"""Contracts, expectation suites and promotion gates: frames in, plain result objects out."""
