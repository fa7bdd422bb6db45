"""What the product tells about an app: who may do what, and why."""
