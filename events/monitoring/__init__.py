"""What people and machines watch a running system by: counts, gauges, health, and the files that show them.

`tally` and `moved` count what happens in this process, `kept` holds what stands in the ledger, `prometheus` puts
all of it into Prometheus' words, `health` judges, and `http` answers; `flower` holds our tabs in Flower.
"""
