"""Source adapters: one module for each source system, all of which write landing files and nothing else."""
