"""The benchmark: `main` runs the measurements, `rig` has their servers, `figures` judges them, `report` shows them."""
