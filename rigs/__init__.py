"""Programs that show, measure and break the package from outside: one folder each. README.md says which is which."""
