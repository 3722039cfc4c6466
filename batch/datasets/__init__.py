"""From events to what models are trained on: columns in time order, splits by time, histories, negatives."""
