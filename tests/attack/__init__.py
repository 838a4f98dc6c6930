"""Attacks: what hostile input, kills, faults and other threads may not break. The long runs are `make attack`."""
