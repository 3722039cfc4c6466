"""Who may call what, and how often: keys and roles, rate limits, headers that keep browsers safe. See docs/access.md."""
