"""Orders, stock and invoices."""
