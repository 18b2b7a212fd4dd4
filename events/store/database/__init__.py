"""What differs between databases and drivers, and their connections: the engine, pools, savepoints, the listener.

May import: settings, ledger, publishing and the words below; of store nothing else. Open first: `engine`.
"""
