"""Transactions of `async def` handlers, on an event loop: engines, connections that are watched, and outcomes.

Open first: `transactions`, then `lazily` and `engines`. The modules of drivers are loaded when an engine needs them.
"""
