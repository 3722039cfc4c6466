"""The published deep models as they are served: NumPy alone, so that neither worker nor API needs TensorFlow. Pure."""
