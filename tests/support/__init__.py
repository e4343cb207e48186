"""What the demo, the integration tests and the benchmark share: hosts of the lab, a writer with a ledger, faults."""
