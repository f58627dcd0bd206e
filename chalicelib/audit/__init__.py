"""The audit log (docs/rules.md section 6): journal entries written out as XML events, to a folder or S3."""
