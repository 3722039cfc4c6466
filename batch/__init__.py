"""The batch models (training, evaluation, publishing). Nothing yet: they come with the issue on deep models."""
