"""Bus logs in files: every format that is read and written."""
