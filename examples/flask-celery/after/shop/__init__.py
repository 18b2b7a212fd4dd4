"""A shop: Flask takes the orders, Celery does the work."""

from flask import Flask

from shop.celery import app as celery_app

__all__ = ["celery_app", "create_app"]


def create_app() -> Flask:
    """Flask's own pattern: what belongs to the web is imported when an application is made."""
    from shop.models import db
    from shop.settings import DATABASE_URL
    from shop.web import web

    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = DATABASE_URL
    db.init_app(app)
    app.register_blueprint(web)
    app.cli.command("create-tables")(db.create_all)
    return app
