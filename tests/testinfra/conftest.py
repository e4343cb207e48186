"""What molecule's scenarios without guards leave out."""

# of keeper and guards: stage `failover` runs it by its name, on a lab that has them
collect_ignore = ["test_mysql_failover.py"]
