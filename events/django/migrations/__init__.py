"""What `manage.py migrate` does for this application."""
