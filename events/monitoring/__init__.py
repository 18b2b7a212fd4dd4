"""What others watch this by: metrics, health, traces, and the tabs in Flower."""
