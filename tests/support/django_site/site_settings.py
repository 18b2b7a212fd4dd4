"""Settings of a Django project for tests. $CASES_DATABASE says where: memory, file, or a URL of PostgreSQL."""

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FOLDER = Path(os.environ.get("CASES_FOLDER") or tempfile.mkdtemp(prefix="django-cases-"))
WHERE = os.environ.get("CASES_DATABASE", "memory")


def database(name: str) -> dict[str, Any]:
    if WHERE in ("memory", "file"):
        file = FOLDER / f"{name}.db"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": file,
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20} if WHERE == "file" else {},
            "TEST": {"NAME": FOLDER / f"test-{name}.db" if WHERE == "file" else None},
        }
    url = urlsplit(WHERE)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": f"{url.path[1:]}_{name}",
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "HOST": url.hostname or "",
        "PORT": str(url.port or ""),
        "OPTIONS": {"pool": True} if os.environ.get("CASES_POOL") else {},
    }


SECRET_KEY = "no secret"
USE_TZ = os.environ.get("CASES_USE_TZ", "1") == "1"
TIME_ZONE = "Asia/Kolkata"
ROOT_URLCONF = "books.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {"default": database("default"), "other": database("other")}
DATABASE_ROUTERS = ["books.routing.Router"]
EVENTS = {"LEASE": "30s", "QUEUE": "books"}
if ledger := os.environ.get("CASES_LEDGER"):
    EVENTS["DATABASE"] = ledger
if schema := os.environ.get("CASES_SCHEMA"):
    EVENTS["SCHEMA"] = schema
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django_tasks",
    "events.django",
    "books",
]
TASKS = {"default": {"BACKEND": "events.django.task_backend.EventsBackend"}}
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
if os.environ.get("CASES_MIGRATIONS") == "off":
    MIGRATION_MODULES = dict.fromkeys(("admin", "auth", "contenttypes", "sessions", "events_ledger", "books"))
