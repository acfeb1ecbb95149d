"""Settings: read once from the environment and the command line, validated, frozen.

Only this package reads the environment. :func:`load` is a pure function; :func:`from_process` calls it with the
environment and the flags of this process.
"""

from strongroom.config.given import SettingError
from strongroom.config.load import (
    DEV_CREDENTIAL,
    administration_from_process,
    bare_environment,
    from_process,
    insecure_sse_c_from_process,
    keys_from_process,
    load,
    load_keys,
    secret_variables,
    transfer_keys,
    transfer_keys_from_process,
)
from strongroom.config.setting import Setting
from strongroom.config.table import TABLE
from strongroom.config.values import (
    Address,
    Administration,
    Backend,
    Keys,
    LocalDirectory,
    LogFormat,
    RemoteS3,
    Settings,
    SharedFolder,
    StaticKey,
    Target,
    Vault,
    VaultPlace,
)

__all__ = [
    "DEV_CREDENTIAL",
    "TABLE",
    "Address",
    "Administration",
    "Backend",
    "Keys",
    "LocalDirectory",
    "LogFormat",
    "RemoteS3",
    "Setting",
    "SettingError",
    "Settings",
    "SharedFolder",
    "StaticKey",
    "Target",
    "Vault",
    "VaultPlace",
    "administration_from_process",
    "bare_environment",
    "from_process",
    "insecure_sse_c_from_process",
    "keys_from_process",
    "load",
    "load_keys",
    "secret_variables",
    "transfer_keys",
    "transfer_keys_from_process",
]
