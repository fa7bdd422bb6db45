"""Many rows at once: files of rows in, files of rows out."""
