"""The sweep: due triggers fire and expired orders are given back, with nobody asking (SPEC.md sections 3 and 5)."""
