"""The commands of `freshet`, one module each. Heavy imports are inside the commands, so that `--help` is fast."""
