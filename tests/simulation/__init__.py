"""The failover protocol against a simulated pair of MySQL servers: the real decisions, every schedule."""
