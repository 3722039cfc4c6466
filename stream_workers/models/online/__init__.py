"""Models that learn from each event of the whole stream, all judged by predicting an event before they learn it."""
