"""From Plan to Statement: SQLAlchemy Core trees, compiled once; what differs between dialects is a protocol."""
