"""The cases, which are run by `python -m django test`: see tests/integration/test_django.py."""
