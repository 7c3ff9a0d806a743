"""What is said of a frame, a node and an edge, computed while frames arrive."""
