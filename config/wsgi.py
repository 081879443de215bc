import os

from django.core.wsgi import get_wsgi_application

from config.database import ensure_database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
if not os.environ.get("DATABASE_URL"):
    # A database that is given is not waited for: a web process started while it is away says so to whoever asks,
    # instead of dying and taking the whole server with it.
    ensure_database()
application = get_wsgi_application()
