"""The `freshet` command line: the local stack, producers, verification, the demo."""
