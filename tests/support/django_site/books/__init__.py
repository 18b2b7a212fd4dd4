"""A bookshop in Django, for tests."""
