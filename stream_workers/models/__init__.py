"""Online models: one file each, the formula and the shapes in its docstring. Pure functions on arrays, compiled by numba."""
