"""What operators ask of the ledger, one contract of events.ledger.operator_ports a file.

May import: the rest of store. Open first: `dead_letters`.
"""
