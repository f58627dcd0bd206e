"""Settings for tools that use a part of the system only, and have no use for the rest."""

from chalicelib.config.settings import Settings, read_settings

_UNUSED = {
    "MONGO_URI": "mongodb://unused",
    "REDIS_URL": "redis://unused",
    "QUOTE_SOURCE": "fixed:10.00",
    "AUTH_SECRET": "unused, and as long as it has to be",
    "DUMP_PLACE": "unused",
}


def settings_with(**given: str) -> Settings:
    """Return settings with these values by name; raises SettingError for one that cannot be used."""
    return read_settings({**_UNUSED, **given})
