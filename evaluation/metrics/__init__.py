"""What a list of recommendations is worth: one file per group of metrics, the formula, the shapes and the paper in each docstring.

Every metric takes `lists`, integers [U, L]: item codes of U ranked lists, best first, padded with -1 at the end. It gives one value
per list, float64[U], so that the caller can average, compare and bootstrap (`evaluation.intervals`); or one number where only the
whole set of lists has a value (coverage, Gini).
"""
