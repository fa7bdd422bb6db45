"""The workload, the bare ceiling, the peers, and one command that compares them."""
