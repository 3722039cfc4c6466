"""Where candidates come from: one interface, the sources of the fixed blend, and those that a product team brings along."""
