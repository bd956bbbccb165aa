"""What git thrum costs, each row beside its reference in the same run: `make bench`."""
