"""The sweep: due triggers fire and expired orders are released, without a command (docs/rules.md sections 3 and 5)."""
