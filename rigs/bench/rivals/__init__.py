"""What others do with the same work: `known` says who, `installing` gets them, `measuring` lets them drain a backlog.

The modules named `*_worker` run in an environment that has that library and nothing of ours, so they and `work` import
nothing of the benchmark's.
"""
