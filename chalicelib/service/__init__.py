"""How a command is carried out: load, quote, decide, save; again when another was first."""
