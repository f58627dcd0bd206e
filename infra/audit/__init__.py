"""Tools for the audit log: check a log, generate a large journal, measure its dump, archive old parts."""
