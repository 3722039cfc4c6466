"""Model versions: written, compared with what serves, promoted, rolled back and removed. Read by `feature_store.model_versions`."""
