"""What operators ask of the ledger: each file keeps one contract of events.ledger.operator_ports.

May import: the rest of store. Open first: `dead_letters`.
"""
