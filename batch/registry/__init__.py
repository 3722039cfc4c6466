"""Published versions of models: folders that are whole or not there, the gate, and which version serves."""
