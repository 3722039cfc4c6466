"""Learning to rank from slates: what was shown, what was clicked, and what was known at that moment."""
