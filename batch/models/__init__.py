"""The batch models, one file each: a Keras model and how it is trained, or a baseline in closed form. Pure."""
