"""Domains that come with Freshet, one TOML file each."""
