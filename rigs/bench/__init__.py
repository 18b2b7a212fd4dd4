"""The benchmark: `targets` says what is measured, `rig` runs it, `figures` judges it, `report` shows it."""
