"""The API: candidates from the online state, blended, filtered, explained; events in, problem details when something is wrong."""
