"""The example application: libraries of cards, a feed for each, and followers who are told of new cards.

`library` defines the event and the tables; `feeds` and `notifications` each handle it, as tasks of their own.
"""
