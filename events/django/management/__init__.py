"""`manage.py events`, and `manage.py flush` for the ledger, too."""
