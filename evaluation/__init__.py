"""Judging recommenders: metrics, the prequential replay, confidence intervals, tuning. Pure."""
