"""What a backend needs of the world around it."""
