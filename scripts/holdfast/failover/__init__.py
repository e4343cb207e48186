"""Failover: the record, who may acknowledge, who is primary, and how one becomes it (design section 7)."""
