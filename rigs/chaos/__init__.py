"""The chaos rig: `plan` draws the faults, `system` runs what they hit, `verdict` compares what went in and came out."""
