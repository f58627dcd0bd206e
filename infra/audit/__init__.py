"""Tools around the audit log: check a dump, make a large journal, measure a dump of it, archive old parts."""
