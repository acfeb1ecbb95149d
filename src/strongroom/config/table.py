"""The settings, declared once: names, flags, meaning. The loader, ``--help`` and ``docs/settings.md`` use this table.

Names that begin with ``MINIO_`` are those which operators of MinIO have in their environment already.
"""

from __future__ import annotations

from strongroom.config import parse
from strongroom.config.setting import Setting
from strongroom.secret import Secret

ACCESS_KEY = Setting(
    ("MINIO_ROOT_USER", "MINIO_ACCESS_KEY"),
    "--root-user-file",
    parse.access_key,
    "NAME",
    "none; minioadmin with --dev",
    "MINIO_ROOT_USER=admin",
    "The access key of the root credentials, at least 3 characters.",
    secret=True,
)
SECRET_KEY = Setting(
    ("MINIO_ROOT_PASSWORD", "MINIO_SECRET_KEY"),
    "--root-password-file",
    parse.secret_key,
    "SECRET",
    "none; minioadmin with --dev",
    "MINIO_ROOT_PASSWORD=at-least-8-characters",
    "The secret key of the root credentials, at least 8 characters.",
    secret=True,
)
REGION = Setting(
    ("MINIO_REGION", "MINIO_SITE_REGION"),
    "--region",
    parse.region,
    "NAME",
    "none: it is us-east-1, and requests that are signed for any are taken",
    "MINIO_REGION=eu-central-1",
    "The region of the server. Where it is set, requests have to be signed for it, and buckets made in it.",
)
DOMAINS = Setting(
    ("MINIO_DOMAIN",),
    "--domain",
    parse.domains,
    "DOMAIN[,DOMAIN]",
    "none",
    "MINIO_DOMAIN=s3.example.com",
    "Domains under which a bucket is addressed as BUCKET.DOMAIN; without one, only as a path.",
)
SSE_MASTER_KEY = Setting(
    ("MINIO_SSE_MASTER_KEY", "MINIO_KMS_MASTER_KEY"),
    "--sse-master-key-file",
    parse.hex_master_key,
    "NAME:HEX",
    "none",
    "MINIO_SSE_MASTER_KEY=my-key:<64 hex digits>",
    "The static master key: a name, a colon, 64 hex digits.",
    secret=True,
)
KMS_SECRET_KEY = Setting(
    ("MINIO_KMS_SECRET_KEY",),
    "--kms-secret-key-file",
    parse.base64_master_key,
    "NAME:BASE64",
    "none",
    "MINIO_KMS_SECRET_KEY=my-key:<base64 of 32 bytes>",
    "The same in the form of later MinIO releases: a name, a colon, base64 of 32 bytes.",
    secret=True,
)
READ_KEYS = Setting(
    ("STRONGROOM_READ_KEYS",),
    "--read-keys-file",
    parse.read_keys,
    "NAME:HEX[,NAME:HEX]",
    "none",
    "STRONGROOM_READ_KEYS=old-key:<64 hex digits>",
    "Static master keys that only open what they once wrapped, beside the one KMS that wraps: separated by commas, in"
    " a file also one a line.",
    secret=True,
)
VAULT_ENDPOINT = Setting(
    ("MINIO_SSE_VAULT_ENDPOINT", "MINIO_KMS_VAULT_ENDPOINT"),
    "--sse-vault-endpoint",
    parse.url,
    "URL",
    "none",
    "MINIO_SSE_VAULT_ENDPOINT=https://vault.example.com:8200",
    "The Vault or OpenBao whose transit engine holds the master key; see docs/kms.md.",
)
VAULT_AUTH_TYPE = Setting(
    ("MINIO_SSE_VAULT_AUTH_TYPE", "MINIO_KMS_VAULT_AUTH_TYPE"),
    "--sse-vault-auth-type",
    parse.auth_type,
    "approle",
    "approle",
    "MINIO_SSE_VAULT_AUTH_TYPE=approle",
    "How to log in to it. AppRole is the only way.",
)
VAULT_APPROLE_ID = Setting(
    ("MINIO_SSE_VAULT_APPROLE_ID", "MINIO_KMS_VAULT_APPROLE_ID"),
    "--sse-vault-approle-id-file",
    parse.approle_id,
    "ID",
    "none",
    "MINIO_SSE_VAULT_APPROLE_ID=<role id>",
    "The role id of the AppRole.",
    secret=True,
)
VAULT_APPROLE_SECRET = Setting(
    ("MINIO_SSE_VAULT_APPROLE_SECRET", "MINIO_KMS_VAULT_APPROLE_SECRET"),
    "--sse-vault-approle-secret-file",
    parse.approle_id,
    "ID",
    "none",
    "MINIO_SSE_VAULT_APPROLE_SECRET_FILE=vault_secret_id",
    "The secret id of the AppRole. A file is read again at each login, so that a new secret id needs no restart.",
    secret=True,
)
VAULT_KEY_NAME = Setting(
    ("MINIO_SSE_VAULT_KEY_NAME", "MINIO_KMS_VAULT_KEY_NAME"),
    "--sse-vault-key-name",
    parse.transit_key,
    "NAME",
    "none",
    "MINIO_SSE_VAULT_KEY_NAME=my-key",
    "The transit key that wraps new data keys.",
)
VAULT_KEY_VERSION = Setting(
    ("MINIO_SSE_VAULT_KEY_VERSION", "MINIO_KMS_VAULT_KEY_VERSION"),
    "--sse-vault-key-version",
    parse.key_version,
    "N",
    "0, the latest",
    "MINIO_SSE_VAULT_KEY_VERSION=0",
    "The version of the transit key that wraps new data keys; 0 for the latest. All versions unwrap.",
)
VAULT_NAMESPACE = Setting(
    ("MINIO_SSE_VAULT_NAMESPACE", "MINIO_KMS_VAULT_NAMESPACE"),
    "--sse-vault-namespace",
    parse.namespace,
    "PATH",
    "none",
    "MINIO_SSE_VAULT_NAMESPACE=storage",
    "The namespace that the AppRole and the transit engine are in.",
)
VAULT_CAPATH = Setting(
    ("MINIO_SSE_VAULT_CAPATH", "MINIO_KMS_VAULT_CAPATH"),
    "--sse-vault-capath",
    parse.path,
    "PATH",
    "the system's authorities",
    "MINIO_SSE_VAULT_CAPATH=/etc/strongroom/vault-ca",
    "The authorities that the Vault's certificate is checked against: a PEM file, or a directory of PEM files.",
)
VAULT_CLIENT_CERT = Setting(
    ("STRONGROOM_VAULT_CLIENT_CERT",),
    "--vault-client-cert",
    parse.path,
    "FILE",
    "none",
    "STRONGROOM_VAULT_CLIENT_CERT=/etc/strongroom/vault-client.crt",
    "The certificate (PEM) to show to a Vault that asks for one.",
)
VAULT_CLIENT_KEY = Setting(
    ("STRONGROOM_VAULT_CLIENT_KEY",),
    "--vault-client-key",
    parse.path,
    "FILE",
    "the file of the certificate",
    "STRONGROOM_VAULT_CLIENT_KEY=/etc/strongroom/vault-client.key",
    "The key (PEM, without a password) of that certificate.",
)
VAULT_TIMEOUT = Setting(
    ("STRONGROOM_VAULT_TIMEOUT",),
    "--vault-timeout",
    parse.seconds,
    "SECONDS",
    "10",
    "STRONGROOM_VAULT_TIMEOUT=10",
    "How long a call to the Vault may take before the request that needs it is answered 503.",
)
AUTO_ENCRYPTION = Setting(
    ("MINIO_SSE_AUTO_ENCRYPTION", "MINIO_KMS_AUTO_ENCRYPTION"),
    "--auto-encryption",
    parse.switch,
    "on|off",
    "off; on with --dev",
    "MINIO_SSE_AUTO_ENCRYPTION=on",
    "Encrypt with SSE-S3 whatever neither the client nor its bucket says how to encrypt. Needs a master key.",
    on_off=True,
)
ALLOW_INSECURE_SSE_C = Setting(
    ("STRONGROOM_ALLOW_INSECURE_SSE_C",),
    "--allow-insecure-sse-c",
    parse.switch,
    "on|off",
    "off",
    "STRONGROOM_ALLOW_INSECURE_SSE_C=on",
    "Take SSE-C keys over plain HTTP too: for a proxy in front that ends TLS. Pass-through, import and export send them"
    " so, too.",
    on_off=True,
)
COMPAT = Setting(
    ("STRONGROOM_COMPAT",),
    "--compat",
    parse.switch,
    "on|off",
    "on",
    "STRONGROOM_COMPAT=off",
    "ETags of SSE-S3 and plain objects are MD5s, as clients expect. Off: faster uploads, opaque ETags ending in -1.",
    on_off=True,
)
ADDRESS = Setting(
    ("STRONGROOM_ADDRESS",),
    "--address",
    parse.address,
    "HOST:PORT",
    ":9000; localhost:9000 with --dev",
    "STRONGROOM_ADDRESS=:9000",
    "Where to listen; without a host, on all interfaces.",
)
WORKERS = Setting(
    ("STRONGROOM_WORKERS",),
    "--workers",
    parse.workers,
    "N",
    "one for each core that may be used (a container's quota counts)",
    "STRONGROOM_WORKERS=4",
    "How many worker processes serve requests.",
)
CERTS_DIR = Setting(
    ("STRONGROOM_CERTS_DIR",),
    "--certs-dir",
    parse.path,
    "DIR",
    "~/.strongroom/certs",
    "STRONGROOM_CERTS_DIR=/etc/strongroom/certs",
    "TLS is on when this directory holds public.crt and private.key (PEM). SIGHUP reads them anew. A directory that is"
    " named here has to hold them; without the default one, or with nothing in it, TLS is off.",
)
IDLE_TIMEOUT = Setting(
    ("STRONGROOM_IDLE_TIMEOUT",),
    "--idle-timeout",
    parse.seconds,
    "SECONDS",
    "75",
    "STRONGROOM_IDLE_TIMEOUT=75",
    "How long a client may send or take nothing before it is cut off; a request's head must be whole by then.",
)
STOP_TIMEOUT = Setting(
    ("STRONGROOM_STOP_TIMEOUT",),
    "--stop-timeout",
    parse.lifetime,
    "SECONDS",
    "75",
    "STRONGROOM_STOP_TIMEOUT=8",
    "How long requests that run when the server is told to end may still take; then they are cut off, as if their"
    " clients had left. Keep it 10 seconds below what the service manager waits for. 0: as long as they take.",
)
BUCKET_KEY_SECONDS = Setting(
    ("STRONGROOM_BUCKET_KEY_SECONDS",),
    "--bucket-key-seconds",
    parse.lifetime,
    "SECONDS",
    "0",
    "STRONGROOM_BUCKET_KEY_SECONDS=300",
    "For how long data keys of buckets that ask for bucket keys (SSE-KMS) are kept in memory, instead of asking the KMS"
    " at each request. A master key that is disabled denies those objects that much later. 0: a KMS is always asked.",
)
SWEEP_AGE = Setting(
    ("STRONGROOM_SWEEP_AGE",),
    "--sweep-age",
    parse.hours,
    "HOURS",
    "24",
    "STRONGROOM_SWEEP_AGE=168",
    "Gateways: for how long nobody must have touched an unfinished upload or a temporary file before it is removed.",
)
ACCESS_LOG = Setting(
    ("STRONGROOM_ACCESS_LOG",),
    "--access-log",
    parse.path,
    "FILE",
    "none",
    "STRONGROOM_ACCESS_LOG=/var/log/strongroom/access.log",
    "Append a line of JSON to this file for each request: by whom, of what, under which master key, and what became of"
    " it. A file that was moved away (by logrotate, say) gets a successor.",
)
PUBLIC_METRICS = Setting(
    ("MINIO_PROMETHEUS_AUTH_TYPE",),
    "--prometheus-auth-type",
    parse.public_metrics,
    "jwt|public",
    "jwt",
    "MINIO_PROMETHEUS_AUTH_TYPE=public",
    "Who may read the metrics at /minio/v2/metrics/cluster: whoever shows a token that was made with the root"
    " credentials (mc admin prometheus generate), or everybody.",
)
CORS_ORIGINS = Setting(
    ("MINIO_API_CORS_ALLOW_ORIGIN",),
    "--cors-allow-origin",
    parse.origins,
    "ORIGIN[,ORIGIN]",
    "*, every page",
    "MINIO_API_CORS_ALLOW_ORIGIN=https://app.example.com,https://*.example.org",
    "Which web pages may reach buckets that have no CORS rules of their own, with requests that are signed all the"
    " same; off for none.",
)
LOG_FORMAT = Setting(
    ("STRONGROOM_LOG_FORMAT",),
    "--log-format",
    parse.log_format,
    "text|json",
    "text",
    "STRONGROOM_LOG_FORMAT=json",
    "Log lines for people, or one JSON object a line. Both go to standard error.",
)

GATEWAY_SSE = Setting(
    ("MINIO_GATEWAY_SSE",),
    "--gateway-sse",
    parse.gateway_sse,
    "s3|c|s3;c",
    "none: encryption at the gateway alone",
    "MINIO_GATEWAY_SSE='s3;c'",
    "Encrypt twice, at the gateway and by the backend: SSE-S3 objects (s3), SSE-C objects (c), or both. Needs a master"
    " key; c needs a backend with https.",
    backend=True,
)
BACKEND_REGION = Setting(
    ("STRONGROOM_BACKEND_REGION",),
    "--backend-region",
    parse.region,
    "NAME",
    "us-east-1",
    "STRONGROOM_BACKEND_REGION=eu-central-1",
    "The region that requests to the backend are signed for, and where buckets are made.",
    backend=True,
)
BACKEND_STYLE = Setting(
    ("STRONGROOM_BACKEND_STYLE",),
    "--backend-style",
    parse.backend_style,
    "auto|path|virtual",
    "auto: virtual for AWS, path for all others",
    "STRONGROOM_BACKEND_STYLE=path",
    "How buckets of the backend are addressed: HOST/BUCKET (path) or BUCKET.HOST (virtual).",
    backend=True,
)
BACKEND_CA = Setting(
    ("STRONGROOM_BACKEND_CA",),
    "--backend-ca",
    parse.path,
    "FILE",
    "the certificates that the system trusts",
    "STRONGROOM_BACKEND_CA=/etc/strongroom/backend-ca.crt",
    "Certificates (PEM) that the backend's is checked against, instead of the system's.",
    backend=True,
)
BACKEND_TIMEOUT = Setting(
    ("STRONGROOM_BACKEND_TIMEOUT",),
    "--backend-timeout",
    parse.seconds,
    "SECONDS",
    "60",
    "STRONGROOM_BACKEND_TIMEOUT=60",
    "How long the backend may keep silent before a request to it is given up. Where it copies, or puts the parts of an"
    " upload together, it has ten times as long, up to ten minutes.",
    backend=True,
)

TABLE: tuple[Setting[object], ...] = (
    ACCESS_KEY,
    SECRET_KEY,
    SSE_MASTER_KEY,
    KMS_SECRET_KEY,
    READ_KEYS,
    VAULT_ENDPOINT,
    VAULT_AUTH_TYPE,
    VAULT_APPROLE_ID,
    VAULT_APPROLE_SECRET,
    VAULT_KEY_NAME,
    VAULT_KEY_VERSION,
    VAULT_NAMESPACE,
    VAULT_CAPATH,
    VAULT_CLIENT_CERT,
    VAULT_CLIENT_KEY,
    VAULT_TIMEOUT,
    AUTO_ENCRYPTION,
    ALLOW_INSECURE_SSE_C,
    COMPAT,
    REGION,
    DOMAINS,
    ADDRESS,
    WORKERS,
    CERTS_DIR,
    BUCKET_KEY_SECONDS,
    IDLE_TIMEOUT,
    STOP_TIMEOUT,
    SWEEP_AGE,
    LOG_FORMAT,
    ACCESS_LOG,
    PUBLIC_METRICS,
    CORS_ORIGINS,
    GATEWAY_SSE,
    BACKEND_REGION,
    BACKEND_STYLE,
    BACKEND_CA,
    BACKEND_TIMEOUT,
)


def _transfer(role: str) -> tuple[Setting[str], Setting[Secret]]:
    name = f"STRONGROOM_{role.upper()}"
    access_key = Setting(
        (f"{name}_ACCESS_KEY",), "", parse.access_key, "NAME", "those of AWS's tools", f"{name}_ACCESS_KEY=admin",
        f"The access key for the {role} of an import or export.", secret=True,
    )  # fmt: skip
    secret_key = Setting(
        (f"{name}_SECRET_KEY",), "", parse.secret_key, "SECRET", "those of AWS's tools", f"{name}_SECRET_KEY=…",
        f"The secret key for the {role} of an import or export.", secret=True,
    )  # fmt: skip
    return access_key, secret_key


TRANSFER = {role: _transfer(role) for role in ("source", "target")}
"""Settings of the commands that copy objects, not of a server. They have no flags."""

ALL = (*TABLE, *(setting for pair in TRANSFER.values() for setting in pair))
"""Every setting there is."""
