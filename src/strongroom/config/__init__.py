"""Settings: read once from the environment and the command line, validated, frozen.

This package is the one place that reads the environment. :func:`load` is a pure function; :func:`from_process` calls
it with what this process was given.
"""

from strongroom.config.load import DEV_CREDENTIAL, SettingError, from_process, load, secret_variables
from strongroom.config.table import TABLE, Setting
from strongroom.config.values import Address, Backend, LocalDirectory, LogFormat, MasterKey, RemoteS3, Settings, Target

__all__ = [
    "DEV_CREDENTIAL",
    "TABLE",
    "Address",
    "Backend",
    "LocalDirectory",
    "LogFormat",
    "MasterKey",
    "RemoteS3",
    "Setting",
    "SettingError",
    "Settings",
    "Target",
    "from_process",
    "load",
    "secret_variables",
]
