"""Settings for tools that use a part of the system only, and have no use for the rest."""

from chalicelib.config.settings import SAMPLES, Settings, read_settings

_NEEDED = {name: value for name, value in SAMPLES.items() if not name.startswith("AUTH_") or name == "AUTH_SECRET"}


def settings_with(**given: str) -> Settings:
    """Return settings with these values by name; raises SettingError for one that cannot be used."""
    return read_settings({**_NEEDED, **given})
