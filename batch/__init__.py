"""Deep models: the event lake, data sets, training, evaluation on later time, the registry and its gate."""
