"""The audit log (SPEC.md section 6): journal entries spelled out as events, as XML, in a place."""
