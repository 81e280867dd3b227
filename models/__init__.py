"""Recommendation code without orchestration: arrays, frames and modules in; arrays, frames and files out."""
