"""Source adapters: one small module per system that fills the landing zone."""
