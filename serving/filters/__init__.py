"""A small language that says which items may be shown: `price < 20 and "comedy" in categories and not seen`."""
