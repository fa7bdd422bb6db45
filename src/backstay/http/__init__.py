"""The frame around every request: ids, deadline, limits, problems, the log line and the metrics."""
