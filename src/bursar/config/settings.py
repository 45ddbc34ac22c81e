"""Django's settings, from the environment or one file. Every name is explained in docs/operating.md."""

import os
import sys
from pathlib import Path
from typing import Any

from csp.constants import NONCE, NONE, SELF
from django.utils.translation import gettext_lazy as _

from bursar.config import environment as env
from bursar.config import login
from bursar.config.home import home
from bursar.config.keys import load_keys, secret_key
from bursar.config.postgres import database_url

PACKAGE = Path(__file__).resolve().parent.parent
BURSAR_HOME = home()
DEMO = env.flag("BURSAR_DEMO")
TESTING = "pytest" in sys.modules
DEBUG = False

# ------------------------------------------------------------------------------------------------ secrets
# Fernet keys, the first encrypts and all decrypt; without BURSAR_KEYS they lie in BURSAR_HOME/keys (mode 0600).
BURSAR_KEYS = load_keys(env.read("BURSAR_KEYS"), BURSAR_HOME, testing=TESTING)
SECRET_KEY = env.read("BURSAR_SECRET_KEY") or secret_key(BURSAR_KEYS)

# ------------------------------------------------------------------------------------------------ where it answers
BASE_URL = env.read("BURSAR_BASE_URL", f"http://127.0.0.1:{env.read('PORT', '8000')}").rstrip("/")
ALLOWED_HOSTS = [h for h in env.read("BURSAR_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]").split(",") if h]
CSRF_TRUSTED_ORIGINS = [o for o in env.read("BURSAR_TRUSTED_ORIGINS").split(",") if o]
SECURE = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
X_FRAME_OPTIONS = "DENY"
if env.flag("BURSAR_BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "django.forms",
    "csp",
    "procrastinate.contrib.django",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "bursar.events",
    "bursar.structure",
    "bursar.catalogue",
    *(
        f"bursar.{name}"
        for name in ("accounting", "metering", "provisioning", "grants", "billing", "delivery", "web", "api")
        if (PACKAGE / name / "apps.py").exists()
    ),
]

MIDDLEWARE = [
    "bursar.config.middleware.RequestId",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "bursar.api.middleware.ApiProblems",
    "bursar.web.middleware.Htmx",
    "bursar.web.middleware.At",
    "bursar.web.middleware.LoginRequired",
    "allauth.account.middleware.AccountMiddleware",
    "bursar.web.middleware.Refusals",
]
CSRF_FAILURE_VIEW = "bursar.web.errors.csrf_failure"
FORM_RENDERER = "bursar.web.forms.TablerRenderer"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "manifest-src": [SELF],
    }
}

ROOT_URLCONF = "bursar.config.urls"
ASGI_APPLICATION = "bursar.config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # `web` overrides the login library's pages, so its folder comes first.
        "DIRS": [PACKAGE / "web" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "csp.context_processors.nonce",
                "bursar.web.context.shell",
            ],
        },
    }
]

# ------------------------------------------------------------------------------------------------ the database
DATABASES = {"default": env.database(database_url(testing=TESTING))}
DATABASES["default"]["TEST"] = {"NAME": os.environ.get("BURSAR_TEST_DB", "test_bursar")}
# Both concern only the statements of `structure/prepared.py`: prepared when a connection asks them again, and planned once for
# all values. Planning them takes longer than running them.
DATABASES["default"]["OPTIONS"]["prepare_threshold"] = 2
DATABASES["default"]["OPTIONS"]["options"] = "-c plan_cache_mode=force_generic_plan"
if not TESTING:
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1,
        "max_size": 10,
        "timeout": 10,
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Rate limits and other small things; the same in every process.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache",
    }
}

# ------------------------------------------------------------------------------------------------ who logs in
AUTH_USER_MODEL = "structure.Person"
SILENCED_SYSTEM_CHECKS = ["auth.W004"]  # the address is unique, whatever its case, by a constraint on Lower(email)
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
SOCIALACCOUNT_PROVIDERS: dict[str, Any]
globals().update(login.settings(base_url=BASE_URL, testing=TESTING))  # allauth's, and the identity providers
BURSAR_SIGNUP: str = login.signup()
SESSION_ENGINE = "django.contrib.sessions.backends.db"

# ------------------------------------------------------------------------------------------------ mail
globals().update(env.mail(env.read("BURSAR_MAIL_URL")))  # EMAIL_BACKEND, EMAIL_HOST and so on
DEFAULT_FROM_EMAIL = env.read("BURSAR_MAIL_FROM", "bursar@localhost")

# ------------------------------------------------------------------------------------------------ words, times, files
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
LOCALE_PATHS = [PACKAGE / "locale"]
FORMAT_MODULE_PATH = "bursar.web.formats"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = BURSAR_HOME / "static"
STATICFILES_DIRS = [PACKAGE / "web" / "static"] if (PACKAGE / "web" / "static").exists() else []
# Files are served under names made of their contents, which browsers keep forever; `bursar serve` puts them there.
PUBLISHED_STATIC_STORAGE = "whitenoise.storage.CompressedManifestStaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},  # nothing is uploaded
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage" if TESTING else PUBLISHED_STATIC_STORAGE
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = TESTING

# ------------------------------------------------------------------------------------------------ jobs
# A worker without a sign of life for four of these is dead, and its jobs are taken up again.
WORKER_HEARTBEAT_SECONDS = float(env.read("BURSAR_WORKER_HEARTBEAT_SECONDS", "5"))
PROCRASTINATE_WORKER_DEFAULTS = {
    "update_heartbeat_interval": WORKER_HEARTBEAT_SECONDS,
    "stalled_worker_timeout": 4 * WORKER_HEARTBEAT_SECONDS,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    # They tell of each task at each start.
    "loggers": {name: {"level": "WARNING"} for name in ("procrastinate.periodic", "procrastinate.blueprints")},
    "root": {"handlers": ["console"], "level": env.read("BURSAR_LOG_LEVEL", "INFO")},
}
