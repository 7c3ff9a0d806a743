"""A trained detector as a file, and the monitor that runs it on a bus or a log."""
