"""The demo: adds real links to libraries, lets a real worker handle the events, and checks that each was handled once.

One module a worry: options (arguments, environment), interrupts (Ctrl-C), worker (its process), cards (what is
published), ledger (what became of it), progress and report (what is shown), checks (what is proved), main (the steps).
"""
