"""How a command is executed: load, quote, decide, save; again if another write came first."""
